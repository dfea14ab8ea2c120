"""From a config to a teacher that answers, and to what a cache of it will look like."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import init_dist, is_distributed
from mmengine.registry import DATASETS, DefaultScope

from kd_plugins.build import FALLBACK_SCOPE
from kd_plugins.engine.cache_check import on_first_process
from kd_plugins.engine.cache_config import views_of, wrap_training_data
from kd_plugins.engine.cache_data import data_fingerprint
from kd_plugins.engine.cache_plan import CacheOptions, CachingTeacher, plan_arrays, rows_per_shard
from kd_plugins.engine.config import set_run_defaults
from kd_plugins.engine.distributed import prepare_distributed
from kd_plugins.engine.launch import complete_config
from kd_plugins.errors import Fault, UserError
from kd_plugins.preflight import build_from_config, data_faults
from kd_plugins.preflight.parts import part_faults
from kd_plugins.preflight.types import type_faults
from kd_plugins.teacher.cache import Manifest, ShardFiles, differences, refusals, shorten, teacher_fingerprint

VIEWS = 4


@dataclass(frozen=True)
class Job:
    """A cache that is about to be written, or is there.

    Attributes:
        teacher: Answers the rows.
        files: Of the cache.
    """

    teacher: CachingTeacher
    files: ShardFiles

    @property
    def manifest(self) -> Manifest:
        """What the cache says about itself."""
        return self.files.manifest


def prepare_job(config: Any, folder: Path, options: CacheOptions) -> Job:
    """Build the teacher and the data, and see how its records are stored. Nothing is written.

    Args:
        config: As for :func:`cache_teacher`.
        folder: Of the cache.
        options: As for :func:`cache_teacher`.

    Raises:
        UserError: The config cannot be built, or its teacher cannot be cached.
    """
    config = copy.deepcopy(config)
    config.model.pop('teacher_cache', None)
    complete_config(config)
    set_run_defaults(config)
    if isinstance(config.model.get('teacher_forward'), dict):
        config.model.teacher_forward.update(dtype='fp32', compile=False, shard=False)
    scope = config.get('default_scope') or FALLBACK_SCOPE
    faults = part_faults(config, 'train') + type_faults(config, scope) + data_faults(config, ('train_dataloader',))
    if faults:
        raise UserError(*faults)
    options = _with_views(config, options)
    prepare_distributed(config)
    if config.launcher != 'none' and not is_distributed():
        init_dist(config.launcher, **(config.get('env_cfg', {}).get('dist_cfg') or {}))
    with DefaultScope.overwrite_default_scope(scope):
        teacher = _build_teacher(config)
        manifest = on_first_process(lambda: _plan(config, teacher, options))
    return Job(teacher, ShardFiles(folder, manifest, '--out'))


def _with_views(config: Any, options: CacheOptions) -> CacheOptions:
    """Wrap the training data; the views of the config, where it wrote some, have to be those of the options."""
    written = views_of(config) or {}
    for name, default in (('views', VIEWS), ('seed', 0)):
        given, meant = getattr(options, name), written.get(name, default)
        if given is not None and written and given != meant:
            advice = f'leave --{name} out, or change the config'
            raise UserError(Fault(f'--{name}', f'{meant}, as in train_dataloader.dataset', str(given), advice))
        options = replace(options, **{name: meant if given is None else given})
    wrap_training_data(config, options.views or VIEWS, options.seed or 0)
    batch = options.batch or config.train_dataloader.get('batch_size') or 1
    return replace(options, batch=int(batch))


def _build_teacher(config: Any) -> CachingTeacher:
    # of which refusals lets only subclasses of OneStepDistill pass
    algorithm: Any = build_from_config(config)
    faults = refusals(algorithm)
    if faults:
        raise UserError(*(fault.within('model') for fault in faults))
    if algorithm.frozen_teacher is None or not algorithm.frozen_teacher.trained:
        advice = 'give teacher_ckpt, or ckpt_path of each of the teachers'
        raise UserError(Fault('model', 'a teacher with trained weights', 'random ones, others in each run', advice))
    dataset = DATASETS.build(config.train_dataloader.dataset)
    if torch.cuda.is_available():
        device = torch.device('cuda', int(os.environ.get('LOCAL_RANK', 0)) if is_distributed() else 0)
    else:
        device = torch.device('cpu')
    return CachingTeacher(algorithm, dataset, config.train_dataloader, device)


def _plan(config: Any, teacher: CachingTeacher, options: CacheOptions) -> Manifest:
    data = data_fingerprint(teacher.dataset, config.train_dataloader.dataset.dataset)
    batch = min(options.batch or 1, teacher.dataset.rows)
    arrays = plan_arrays(teacher, options, batch)
    return Manifest(
        samples=len(teacher.dataset),
        views=teacher.dataset.views,
        seed=teacher.dataset.seed,
        batch=batch,
        rows_per_shard=rows_per_shard(arrays, teacher.dataset.rows, batch),
        arrays=arrays,
        fingerprint={**teacher_fingerprint(teacher.algorithm), **data},
    )


def refuse_other(written: Manifest, wanted: Manifest, folder: Path) -> None:
    """Refuse a folder that holds a cache of something else.

    Args:
        written: What it holds.
        wanted: What is wanted of it.
        folder: Of the cache.

    Raises:
        UserError: With each part that differs.
    """
    sizes = ('samples', 'views', 'seed', 'batch', 'rows_per_shard', 'arrays')
    found = [
        (name, shorten(getattr(written, name)), shorten(getattr(wanted, name)))
        for name in sizes
        if getattr(written, name) != getattr(wanted, name)
    ]
    found += differences(written.fingerprint, wanted.fingerprint)
    if found:
        advice = 'choose another folder with --out, or remove this one'
        raise UserError(*(Fault(f'--out ({part})', f'{old}, as in {folder}', new, advice) for part, old, new in found))
