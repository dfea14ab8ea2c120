"""Training and testing of a config, with everything that can be refused refused first."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from kd_plugins.build import explain_failure
from kd_plugins.engine.allocator import keep_freed_memory
from kd_plugins.engine.cache_check import check_teacher_cache
from kd_plugins.engine.cache_config import use_teacher_cache
from kd_plugins.engine.compile_student import compile_student
from kd_plugins.engine.config import qualify_types, set_run_defaults
from kd_plugins.engine.data_check import check_data, explain_data_failure
from kd_plugins.engine.distill_schedule_hook import DistillScheduleHook
from kd_plugins.engine.distributed import prepare_distributed, rank_of_speaker
from kd_plugins.engine.evaluation_options import EvaluationOptions
from kd_plugins.engine.evaluation_output import write_metrics
from kd_plugins.engine.full_disk import full_disk_refused
from kd_plugins.engine.mixed_precision import use_mixed_precision
from kd_plugins.engine.progress_hook import ProgressHook
from kd_plugins.engine.resume import build_runner, choose_checkpoint
from kd_plugins.engine.run_result import describe_config, record_result
from kd_plugins.engine.sound_data import PARTS, as_written, bad_files_refused, show_as_written, use_sound_data
from kd_plugins.engine.stop_distill_hook import StopDistillHook
from kd_plugins.engine.stop_signals import stoppable
from kd_plugins.engine.tta import use_tta_model, use_tta_pipeline
from kd_plugins.engine.work_dir import work_dir_of_run
from kd_plugins.errors import Fault, UserError
from kd_plugins.preflight import check_testing, check_training, forbid_downloads, loads_images, notes, runner_part
from kd_plugins.report.result import FILE

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# what a class raises whose arguments are wrong; the rest is about the machine, and keeps its traceback
CONFIG_ERRORS = (
    AssertionError,
    AttributeError,
    ImportError,
    IndexError,
    KeyError,
    NotImplementedError,
    TypeError,
    ValueError,
    ZeroDivisionError,
)


def train(config: Any) -> Runner:
    """Train as a config says, evaluate what came of it, and write ``result.json`` into the work_dir.

    Args:
        config: The whole config, of :func:`kd_plugins.engine.config.load_config`; ``work_dir`` and ``launcher`` have
            defaults.

    Returns:
        The runner, after training.

    Raises:
        UserError: The config cannot run; nothing is left in the work_dir then.
    """
    set_run_defaults(config)
    description = describe_config(config)
    runner = prepare_training(config)
    if is_main_process():
        # of an earlier training in this folder
        (Path(runner.work_dir) / FILE).unlink(missing_ok=True)
    start = time.perf_counter()
    run_training(runner)
    with bad_files_refused(runner), full_disk_refused(runner.work_dir):
        record_result(runner, description, time.perf_counter() - start)
    return runner


def run_training(runner: Runner) -> None:
    """Train, and give the terminal back however the training ends.

    Args:
        runner: Of :func:`prepare_training`.

    Raises:
        UserError: The disk is full, or a file of the data is bad.
        StopRequested: SIGTERM or Ctrl-C has come; the training can be resumed.
    """
    try:
        with stoppable(), bad_files_refused(runner), full_disk_refused(runner.work_dir):
            runner.train()
    finally:
        for hook in runner.hooks:
            if isinstance(hook, ProgressHook):
                hook.after_train(runner)


def prepare_training(config: Any) -> Runner:
    """Do everything that a config can be refused for, and stop before the first step.

    Args:
        config: As for :func:`train`.

    Returns:
        The runner, for :func:`run_training`.

    Raises:
        UserError: The config cannot run; nothing is left in the work_dir then.
    """
    complete_config(config)
    prepare_distributed(config)
    if not torch.cuda.is_available():
        keep_freed_memory()
    with work_dir_of_run(config.work_dir), full_disk_refused(config.work_dir):
        told = choose_checkpoint(config)
        findings = check_training(config)
        if rank_of_speaker() == 0:
            for line in [*told, *notes(findings)]:
                print(line, flush=True)
        use_sound_data(config)
        runner = _build_runner(config)
        _load_data(runner)
        check_data(runner)
        check_teacher_cache(runner)
        for hook in runner.hooks:
            if isinstance(hook, (DistillScheduleHook, StopDistillHook)):
                hook.refuse_misfit(runner)
    return runner


def test(config: Any, options: EvaluationOptions | None = None) -> dict[str, float]:  # noqa: PT028
    """Evaluate ``config.load_from`` on the test data of a config.

    Args:
        config: The whole config, ``load_from`` included; ``work_dir`` and ``launcher`` have defaults.
        options: What to do besides.

    Returns:
        The metrics.

    Raises:
        UserError: The config cannot run, the checkpoint is not one of its model, a file of the data is bad, or an
            option cannot be followed.
    """
    set_run_defaults(config)
    options = options or EvaluationOptions()
    options.check()
    options.complete(config)
    _complete_loaders(config)
    prepare_distributed(config)
    with work_dir_of_run(config.work_dir), full_disk_refused(config.work_dir):
        check_testing(config)
        if options.tta:
            use_tta_pipeline(config)
        loads_files = loads_images(config, 'test_dataloader')
        use_sound_data(config)
        runner = _build_runner(config)
        _load_part(runner, 'test')
        options.attach(runner, loads_files)
        if options.tta:
            with bad_files_refused(runner):
                use_tta_model(runner, config)
    with bad_files_refused(runner), full_disk_refused(runner.work_dir):
        metrics = runner.test()
        if options.metrics_file is not None and is_main_process():
            write_metrics(metrics, options.metrics_file)
        return metrics


def set_training_options(
    config: Any,
    *,
    resume: str | None = None,
    amp: bool | str = False,
    auto_scale_lr: bool = False,
    seed: int | None = None,
    deterministic: bool = False,
    validate: bool = True,
    pin_memory: bool = True,
    persistent_workers: bool = True,
) -> None:
    """Write the options of ``tools/train.py`` into a config.

    Args:
        config: The whole config.
        resume: ``'auto'`` for the newest checkpoint of the work_dir, or a path.
        amp: Train in mixed precision: ``'bf16'`` or ``'fp16'``; True for what :func:`use_mixed_precision` chooses.
        auto_scale_lr: Scale the learning rate with the number of images per step.
        seed: Of all random numbers.
        deterministic: Use deterministic algorithms.
        validate: False leaves the validations out that the config has; the test at the end of a training stays.
        pin_memory: False forbids all data loaders to put batches into pinned memory.
        persistent_workers: False ends the workers of all data loaders after each pass over the data.

    Raises:
        UserError: The config or the machine cannot do it.
    """
    if resume is not None:
        config.resume = resume
    if amp:
        use_mixed_precision(config, None if amp is True else amp)
    if auto_scale_lr:
        if 'base_batch_size' not in (config.get('auto_scale_lr') or {}):
            raise UserError(
                Fault('--auto-scale-lr', 'auto_scale_lr.base_batch_size in the config', 'none', 'add it to the config')
            )
        config.auto_scale_lr.enable = True
    if not validate:
        for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
            config[key] = None
    for key, wanted in (('pin_memory', pin_memory), ('persistent_workers', persistent_workers)):
        for loader in () if wanted else LOADERS:
            if isinstance(config.get(loader), dict):
                config[loader][key] = False
    randomness = dict(config.get('randomness') or {})
    randomness.setdefault('seed', None)
    if seed is not None:
        randomness['seed'] = seed
    if deterministic:
        randomness['deterministic'] = True
    config.randomness = randomness


def complete_config(config: Any) -> None:
    """Add what every run of ours has and a config need not say: data loaders' keys, a cache's views, hooks.

    Args:
        config: The whole config, which is changed.

    Raises:
        UserError: There is no cache at ``model.teacher_cache``, or the config has other views than it.
    """
    _complete_loaders(config)
    compile_student(config)
    use_teacher_cache(config)
    _add_hooks(config)


def _build_runner(config: Any) -> Runner:
    try:
        runner = build_runner(config)
    except CONFIG_ERRORS as error:
        raise _explain(error, config._cfg_dict) from error
    show_as_written(runner)
    return runner


def _load_data(runner: Runner) -> None:
    """Build all loops now, for their data sets complain about files."""
    for part in PARTS:
        _load_part(runner, part)


def _load_part(runner: Runner, part: str) -> None:
    try:
        getattr(runner, f'{part}_loop')
    except (OSError, RuntimeError, *CONFIG_ERRORS) as error:
        explained = explain_data_failure(error, part)
        if explained is not None:
            raise explained from error
        if not isinstance(error, CONFIG_ERRORS):
            raise
        others = [other for other in PARTS if other != part]
        written = runner.cfg._cfg_dict.items()
        own = {key: value for key, value in written if key.partition('_')[0] not in others}
        raise _explain(error, own) from error


def _explain(error: Exception, config: Mapping[str, Any]) -> UserError:
    explained = explain_failure(error, '', runner_part(as_written(config)))
    return UserError(*(replace(fault, where=fault.where or 'CONFIG') for fault in explained.faults))


def _add_hooks(config: Any) -> None:
    """Add the hooks that every run of ours has, unless the config has them."""
    hooks = config.get('custom_hooks') or []
    if not isinstance(hooks, (list, tuple)):
        return  # preflight says what is wrong with it
    types = [hook.get('type') if isinstance(hook, dict) else type(hook) for hook in hooks]
    present = {getattr(kind, '__name__', str(kind).rpartition('.')[2]) for kind in types}
    wanted = [
        'ProgressHook',
        'LogHistoryHook',
        'MMRazorCheckpointHook',
        'FiniteLossHook',
        'StopOnSignalHook',
        'BadFilesHook',
    ]
    if config.get('launcher', 'none') != 'none':
        # each process has BatchNorm statistics of its own images: all validate and save their mean
        wanted.append('SyncBuffersHook')
    config.custom_hooks = [*hooks, *(dict(type=name) for name in wanted if name not in present)]
    qualify_types(config)


def _complete_loaders(config: Any) -> None:
    """Give every data loader what mmpretrain's tools give it: its data configs rely on that. None downloads unasked."""
    forbid_downloads(config)
    for name in LOADERS:
        loader = config.get(name)
        if isinstance(loader, dict):
            defaults: dict[str, Any] = dict(pin_memory=torch.cuda.is_available())
            if loader.get('num_workers'):
                defaults['persistent_workers'] = True
            if config.default_scope == 'mmpretrain':
                defaults['collate_fn'] = dict(type='default_collate')
            config[name] = ConfigDict({**defaults, **loader})
