"""mmengine's Runner with loops, checkpoints and data that a training can be resumed from exactly."""

from __future__ import annotations

import copy
import os
from typing import Any

import torch
from mmengine.dataset import worker_init_fn
from mmengine.dist import get_rank
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.logging import MessageHub
from mmengine.registry import RUNNERS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from kd_plugins.datasets import ResumableBatchSampler, ResumableSampler, SeededSamples
from kd_plugins.engine.quiet_runner import QuietRunner
from kd_plugins.engine.resume.epoch_loop import ResumableEpochLoop
from kd_plugins.engine.resume.iter_loop import ResumableIterLoop
from kd_plugins.engine.resume.whole_checkpoint_hook import WholeCheckpointHook

# what takes the place of mmengine's own; a config's own classes stay
LOOPS: dict[Any, Any] = {
    EpochBasedTrainLoop: ResumableEpochLoop,
    EpochBasedTrainLoop.__name__: ResumableEpochLoop,
    IterBasedTrainLoop: ResumableIterLoop,
    IterBasedTrainLoop.__name__: ResumableIterLoop,
}


class ResumableRunner(QuietRunner):
    """Trains with :class:`ResumableEpochLoop` or :class:`ResumableIterLoop`, and saves with ``WholeCheckpointHook``."""

    _train_dataloader: Any
    _timestamp: str

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Set up the process, and name the run as no earlier one of it is: mmengine tells them apart by the second."""
        super().setup_env(env_cfg)
        second, number = self._timestamp, 1
        while any(name.endswith(self._timestamp) for name in MessageHub._instance_dict):
            number += 1
            self._timestamp = f'{second}_{number}'

    def build_train_loop(self, loop: Any) -> Any:
        """Build the loop that a config names, or the resumable one where that is mmengine's."""
        if not isinstance(loop, dict):
            return super().build_train_loop(loop)
        if isinstance(self._train_dataloader, dict):
            self._train_dataloader = self._resumable(self._train_dataloader)
        kind = loop.get('type', EpochBasedTrainLoop if loop.get('by_epoch') else IterBasedTrainLoop)
        if kind not in LOOPS or ('type' in loop) == ('by_epoch' in loop):
            return super().build_train_loop(loop)
        arguments = {name: value for name, value in loop.items() if name not in ('type', 'by_epoch', '_scope_')}
        return LOOPS[kind](runner=self, dataloader=self._train_dataloader, **arguments)

    def register_hook(self, hook: Any, priority: Any = None) -> None:
        """Register a hook; for mmengine's ``CheckpointHook``, the one whose checkpoints are whole."""
        kind = hook.get('type') if isinstance(hook, dict) else None
        if kind in (CheckpointHook, CheckpointHook.__name__):
            hook = {**hook, 'type': WholeCheckpointHook}
        if kind in (EarlyStoppingHook, EarlyStoppingHook.__name__) and 'priority' not in hook:
            # what it has counted is saved after it has
            priority = priority or 'LOW'
        super().register_hook(hook, priority)

    @staticmethod
    def build_dataloader(dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False) -> DataLoader:
        """Build a data loader whose workers have their signals, and their random numbers, apart from the training."""
        if not isinstance(dataloader, dict) or not dataloader.get('num_workers'):
            return Runner.build_dataloader(dataloader, seed, diff_rank_seed)
        dataloader = copy.copy(dataloader)
        arguments = dict(num_workers=dataloader['num_workers'], rank=get_rank(), seed=seed or 0)
        arguments['disable_subprocess_warning'] = dataloader.pop('disable_subprocess_warning', False)
        dataloader.setdefault('worker_init_fn', dict(type=_begin_worker, **arguments))
        loader = Runner.build_dataloader(dataloader, seed, diff_rank_seed)
        # of which it draws when workers start, be that once a training or once more after a stop
        loader.generator = torch.Generator().manual_seed(seed or 0)
        return loader

    def _resumable(self, loader: dict[str, Any]) -> dict[str, Any]:
        loader = copy.copy(loader)
        if isinstance(loader.get('sampler'), dict):
            loader['sampler'] = dict(type=ResumableSampler, sampler=loader['sampler'])
            if isinstance(loader.get('batch_sampler'), dict):
                loader['batch_sampler'] = dict(type=ResumableBatchSampler, batch_sampler=loader['batch_sampler'])
        if loader.get('num_workers') and isinstance(loader.get('dataset'), dict):
            loader['dataset'] = dict(type=SeededSamples, dataset=loader['dataset'], seed=self.seed)
        return loader


def build_runner(config: Any) -> Runner:
    """Build the runner of a config: its own ``runner_type``, or a :class:`ResumableRunner` for mmengine's."""
    is_default = config.get('runner_type') in (None, Runner, Runner.__name__)
    return ResumableRunner.from_cfg(config) if is_default else RUNNERS.build(config)


def _begin_worker(worker_id: int, **arguments: Any) -> None:
    """Begin as mmengine's workers do, out of reach of what a terminal or Slurm sends to the group of a training."""
    # their parent still ends them, by SIGTERM
    os.setpgrp()
    worker_init_fn(worker_id, **arguments)
