"""Hook that shows how far a training is, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from kd_plugins.engine.quiet_runner import console_handlers
from kd_plugins.registry import HOOKS
from kd_plugins.report.result import numbers_of


@HOOKS.register_module()
class ProgressHook(Hook):
    """Draws a bar for epochs and one for iterations, with the loss and the last validation beside them.

    A model that has several optimisers has a loss for each.

    In a pipe, or on any process but the first, it does nothing: mmengine's log lines are there then.

    Args:
        title: What is being trained; the experiment's name by default.
    """

    priority = 'VERY_LOW'

    def __init__(self, title: str | None = None) -> None:
        self.title = title
        self._progress: Progress | None = None
        self._epochs: TaskID | None = None
        self._validation = ''

    def before_train(self, runner: Any) -> None:
        """Start drawing."""
        console = Console(stderr=True)
        if not console.is_terminal or not is_main_process():
            return
        self._progress = Progress(
            TextColumn('{task.description}'),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn('{task.fields[note]}'),
            console=console,
        )
        self._progress.start()
        # while it draws, rich prints what goes to sys.stderr above the bars
        for handler in console_handlers(runner.logger):
            handler.setStream(sys.stderr)
        title = self.title or runner.experiment_name
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._epochs = self._progress.add_task(title, total=runner.max_epochs, completed=runner.epoch, note='')
            title = '  iterations'
        self._iterations = self._progress.add_task(title, total=runner.max_iters, completed=runner.iter, note='')

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Advance the bar of iterations."""
        if self._progress is not None:
            note = '  '.join(_losses(runner)) + self._validation
            self._progress.update(self._iterations, completed=runner.iter + 1, note=note)

    def after_train_epoch(self, runner: Any) -> None:
        """Advance the bar of epochs."""
        if self._progress is not None and self._epochs is not None:
            self._progress.update(self._epochs, completed=runner.epoch + 1)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Keep the student's first metric that is a number to show it."""
        for name, value in numbers_of(metrics or {}).items():
            self._validation = f'  val {name} {value:.2f}'
            break

    def after_train(self, runner: Any) -> None:
        """Stop drawing."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            for handler in console_handlers(runner.logger):
                handler.setStream(sys.stderr)


def _losses(runner: Any) -> Iterator[str]:
    """The sum of all losses, or where there are several optimisers, that of each."""
    for key, values in runner.message_hub.log_scalars.items():
        name = key.removeprefix('train/')
        if name != key and name.rpartition('.')[2] == 'loss':
            yield f'{name} {values.current():.3f}'
