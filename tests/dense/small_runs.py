"""Options that let a dense config run in seconds: few steps on small images, random weights."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from kd_plugins.build import build_model, resolve_model_config
from kd_plugins.engine.config import load_config
from tools import train

SIDE = 224


def check_run(path: Path, root: Path, metric: str, folder: Path, capsys: Any) -> None:
    """Train a config for two steps and validate once, by ``tools/train.py``, and look at what it logged.

    Args:
        path: The config.
        root: The data set.
        metric: That it validates with.
        folder: For the run.
        capsys: Of pytest.
    """
    config = load_config(path)
    options = options_of(config, root)
    options.append(f'model.teacher_ckpt={write_teacher(config, folder / "teacher.pth")}')
    torch.manual_seed(0)
    capsys.readouterr()

    status = train.main([str(path), '--work-dir', str(folder / 'run'), '--cfg-options', *options])

    assert status == 0, capsys.readouterr().err[-3000:]
    log = read_log(folder / 'run')
    training = [line for line in log if 'loss' in line]
    assert len(training) == 2
    distilled = {key: value for line in training for key, value in line.items() if key.startswith('distill.loss')}
    assert distilled
    assert all(math.isfinite(value) for value in distilled.values())
    assert {metric, f'teacher.{metric}'} <= set(log[-1])


def options_of(config: Any, root: Path, steps: int = 2, workers: int = 0) -> list[str]:
    """What to pass as ``--cfg-options``.

    Args:
        config: As :func:`kd_plugins.engine.config.load_config` returns it.
        root: The data set.
        steps: Of the training; the validation comes after them.
        workers: Of the data loaders.
    """
    options = []
    for name in ('train', 'val', 'test'):
        loader = config[f'{name}_dataloader']
        options += [
            f'{name}_dataloader.dataset.data_root={root}',
            f'{name}_dataloader.num_workers={workers}',
            f'{name}_dataloader.persistent_workers={bool(workers)}',
            *_small_images(loader.dataset.pipeline, f'{name}_dataloader.dataset.pipeline'),
        ]
        evaluator = config.get(f'{name}_evaluator') or {}
        if 'ann_file' in evaluator:
            options.append(f'{name}_evaluator.ann_file={root}/{loader.dataset.ann_file}')
    if config.train_cfg.type == 'IterBasedTrainLoop':
        options += [f'train_cfg.max_iters={steps}', f'train_cfg.val_interval={steps}']
    else:
        # four images, two a step
        options += [f'train_cfg.max_epochs={steps // 2}', f'train_cfg.val_interval={steps // 2}']
    for key in ('architecture', 'teacher'):
        options += _without_downloads(config.model[key], f'model.{key}')
    return [*options, 'default_hooks.logger.interval=1']


def write_teacher(config: Any, path: Path) -> Path:
    """Random weights for the teacher of a config."""
    teacher = {**config.model.teacher, 'pretrained': False}
    torch.manual_seed(0)
    state = build_model(teacher, 'teacher')[0].state_dict()
    torch.save({'state_dict': state, 'meta': {}}, path)
    return path


def read_log(work_dir: Path) -> list[dict[str, Any]]:
    """The lines of the log of a training."""
    (path,) = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


def _small_images(pipeline: Any, where: str) -> Iterator[str]:
    for index, step in enumerate(pipeline):
        place = f'{where}.{index}'
        if step.type in ('Resize', 'RandomResize'):
            yield f'{place}.scale=({SIDE},{SIDE})'
        elif step.type == 'RandomCrop':
            yield f'{place}.crop_size=({SIDE // 2},{SIDE})'
        elif step.type == 'RandomChoiceResize':
            yield f'{place}.scales=[({SIDE},{SIDE})]'


def _without_downloads(model: Any, where: str) -> Iterator[str]:
    """No weights of a zoo, batches of the size of the small images, and boxes of a model that is not trained."""
    if 'pretrained' in model:
        yield f'{where}.pretrained=False'
    _, resolved, _ = resolve_model_config({**model, 'pretrained': False}, where)
    for part in ('backbone', 'neck', 'bbox_head'):
        start = (resolved.get(part) or {}).get('init_cfg')
        if isinstance(start, dict) and start.get('type') == 'Pretrained':
            yield f'{where}.{part}.init_cfg=None'
    # what has hardly been trained is sure of nothing
    settings = resolved.get('test_cfg') or {}
    for key in ('score_thr', 'rcnn.score_thr'):
        if 'score_thr' in (settings.get('rcnn', {}) if '.' in key else settings):
            yield f'{where}.test_cfg.{key}=0'
    if resolved.get('pretrained'):
        yield f'{where}.pretrained=None'
    if 'size' in (resolved.get('data_preprocessor') or {}):
        yield f'{where}.data_preprocessor.size=({SIDE // 2},{SIDE})'
