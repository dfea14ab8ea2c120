"""Hook that stops a training which was asked to stop, with a checkpoint."""

from __future__ import annotations

from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook

from kd_plugins.engine.resume.stopped import save_stopped
from kd_plugins.engine.stop_signals import StopRequested, requested_stop
from kd_plugins.registry import HOOKS


@HOOKS.register_module()
class StopOnSignalHook(Hook):
    """Looks after each step, and each batch of a validation, whether SIGTERM or Ctrl-C has come to any process."""

    priority = 'LOWEST'

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save and stop.

        Raises:
            StopRequested: A signal has come.
        """
        if number := requested_stop():
            save_stopped(runner, runner.iter + 1, StopRequested(number))

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Stop a validation; its loop saves.

        Raises:
            StopRequested: A signal has come.
        """
        if not hasattr(runner.train_loop, 'progress') or not _all_are_here(runner.val_loop.dataloader, batch_idx):
            return
        if number := requested_stop():
            raise StopRequested(number)


def _all_are_here(loader: Any, batch: int) -> bool:
    """Whether every process has that batch: they may have one more or less each."""
    processes = get_world_size()
    return processes == 1 or (loader.batch_size and batch < len(loader.dataset) // (processes * loader.batch_size))
