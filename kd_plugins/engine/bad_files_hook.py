"""Hook that lists the bad files of the training data."""

from __future__ import annotations

from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import EpochBasedTrainLoop

from kd_plugins.registry import HOOKS

NAMES_SHOWN = 10


@HOOKS.register_module()
class BadFilesHook(Hook):
    """Warns of the bad files that ``SoundSamples`` has replaced, each once: how many, and which.

    It does so at the end of each epoch; in a training by iterations with each line of the log.
    """

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self._told = 0

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Warn of the bad files of the last iterations, where there are no epochs."""
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            return
        interval = next((hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)), 1)
        if self.every_n_train_iters(runner, interval):
            self._tell(runner)

    def after_train_epoch(self, runner: Any) -> None:
        """Warn of the bad files of an epoch, or of the end of a training by iterations."""
        self._tell(runner)

    def _tell(self, runner: Any) -> None:
        files = getattr(runner.train_loop.dataloader.dataset, 'bad_files', None)
        found = files.read() if files is not None and is_main_process() else {}
        new = list(found.items())[self._told :]
        if new:
            self._told = len(found)
            listed = ''.join(f'\n  {file}: {problem}' for file, problem in new[:NAMES_SHOWN])
            more = '\n  …' if len(new) > NAMES_SHOWN else ''
            one = len(new) == 1
            what = 'bad file' if one else 'bad files'
            how = 'was replaced by another sample' if one else 'were replaced by other samples'
            runner.logger.warning(f'{len(new)} {what} ({len(found)} in all) {how}:{listed}{more}')
