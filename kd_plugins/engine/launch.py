"""Training and testing of a config, with everything that can be refused refused first."""

from __future__ import annotations

import traceback
from dataclasses import replace
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from kd_plugins.build import explain_failure
from kd_plugins.engine.config import qualify_types
from kd_plugins.engine.distributed import prepare_distributed
from kd_plugins.engine.progress_hook import ProgressHook
from kd_plugins.engine.quiet_runner import build_runner
from kd_plugins.engine.work_dir import work_dir_of_run
from kd_plugins.errors import Fault, UserError
from kd_plugins.preflight import check_testing, check_training, notes

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
    """Train as a config says.

    Args:
        config: The whole config, ``work_dir`` and ``launcher`` included.

    Returns:
        The runner, after training.

    Raises:
        UserError: The config cannot run; nothing is left in the work_dir then.
    """
    runner = prepare_training(config)
    run_training(runner)
    return runner


def run_training(runner: Runner) -> None:
    """Train, and give the terminal back however the training ends.

    Args:
        runner: Of :func:`prepare_training`.
    """
    try:
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
    with work_dir_of_run(config.work_dir):
        findings = check_training(config)
        if is_main_process():
            for line in notes(findings):
                print(line, flush=True)
        runner = _build_runner(config)
        _load_data(runner)
    return runner


def test(config: Any) -> dict[str, float]:
    """Evaluate ``config.load_from`` on the test data of a config.

    Args:
        config: The whole config, ``work_dir``, ``launcher`` and ``load_from`` included.

    Returns:
        The metrics.

    Raises:
        UserError: The config cannot run, or the checkpoint is not one of its model.
    """
    _complete_loaders(config)
    prepare_distributed(config)
    with work_dir_of_run(config.work_dir):
        check_testing(config)
        runner = _build_runner(config)
    return runner.test()


def set_training_options(
    config: Any,
    *,
    resume: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    seed: int | None = None,
    deterministic: bool = False,
) -> None:
    """Write the options of ``tools/train.py`` into a config.

    Args:
        config: The whole config.
        resume: ``'auto'`` for the newest checkpoint of the work_dir, or a path.
        amp: Train in mixed precision.
        auto_scale_lr: Scale the learning rate with the number of images per step.
        seed: Of all random numbers.
        deterministic: Use deterministic algorithms.

    Raises:
        UserError: The config or the machine cannot do it.
    """
    if resume is not None:
        config.resume = True
        config.load_from = None if resume == 'auto' else resume
    if amp:
        if not torch.cuda.is_available():
            raise UserError(Fault('--amp', 'a GPU', 'a machine without', "leave it out: mmengine's AMP needs a GPU"))
        wrapper = config.optim_wrapper
        # with a constructor of its own, each part of the model has an optimiser
        parts = [wrapper] if 'optimizer' in wrapper else [part for part in wrapper.values() if isinstance(part, dict)]
        for part in parts:
            part['type'] = 'AmpOptimWrapper'
            part.setdefault('loss_scale', 'dynamic')
    if auto_scale_lr:
        if 'base_batch_size' not in config.get('auto_scale_lr', {}):
            raise UserError(
                Fault('--auto-scale-lr', 'auto_scale_lr.base_batch_size in the config', 'none', 'add it to the config')
            )
        config.auto_scale_lr.enable = True
    randomness = dict(config.get('randomness') or {})
    randomness.setdefault('seed', None)
    if seed is not None:
        randomness['seed'] = seed
    if deterministic:
        randomness['deterministic'] = True
    config.randomness = randomness


def complete_config(config: Any) -> None:
    """Add what every run of ours has and a config need not say: keys of data loaders, and hooks.

    Args:
        config: The whole config, which is changed.
    """
    _complete_loaders(config)
    _add_hooks(config)


def _build_runner(config: Any) -> Runner:
    try:
        return build_runner(config)
    except CONFIG_ERRORS as error:
        raise _explain(error, config) from error


def _load_data(runner: Runner) -> None:
    """Build both loops now, for their data sets complain about files."""
    try:
        _ = runner.train_loop, runner.val_loop
    except (OSError, RuntimeError, *CONFIG_ERRORS) as error:
        # how the data sets of OpenMMLab say that files are missing or damaged
        calls = {frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)}
        if calls & {'full_init', 'load_data_list'} and not isinstance(error, KeyError):
            message = f'{type(error).__name__}: {error}'
            raise UserError(
                Fault('data', 'files of the data set', message, 'look at data_root and ann_file of the data loaders')
            ) from error
        if not isinstance(error, CONFIG_ERRORS):
            raise
        raise _explain(error, runner.cfg) from error


def _explain(error: Exception, config: Any) -> UserError:
    explained = explain_failure(error, '', config._cfg_dict)
    return UserError(*(replace(fault, where=fault.where or 'CONFIG') for fault in explained.faults))


def _add_hooks(config: Any) -> None:
    """Add the hooks that every run of ours has, unless the config has them."""
    hooks = config.get('custom_hooks') or []
    if not isinstance(hooks, (list, tuple)):
        return  # preflight says what is wrong with it
    types = [hook.get('type') if isinstance(hook, dict) else type(hook) for hook in hooks]
    present = {getattr(kind, '__name__', str(kind).rpartition('.')[2]) for kind in types}
    wanted = ['ProgressHook', 'LogHistoryHook', 'MMRazorCheckpointHook']
    if config.get('launcher', 'none') != 'none':
        # each process has BatchNorm statistics of its own images: all validate and save their mean
        wanted.append('SyncBuffersHook')
    config.custom_hooks = [*hooks, *(dict(type=name) for name in wanted if name not in present)]
    qualify_types(config)


def _complete_loaders(config: Any) -> None:
    """Give every data loader what mmpretrain's tools give it: its data configs rely on that."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = config.get(name)
        if isinstance(loader, dict):
            defaults: dict[str, Any] = dict(pin_memory=torch.cuda.is_available())
            if loader.get('num_workers'):
                defaults['persistent_workers'] = True
            if config.default_scope == 'mmpretrain':
                defaults['collate_fn'] = dict(type='default_collate')
            config[name] = ConfigDict({**defaults, **loader})
