"""Training by epochs that goes on in the middle of one."""

from __future__ import annotations

from typing import Any

from mmengine.runner import EpochBasedTrainLoop

from kd_plugins.engine.resume.data_passes import batches_from
from kd_plugins.engine.resume.progress import Progress, load_progress, require_same_place
from kd_plugins.engine.resume.validation import validate
from kd_plugins.randomness import random_states, set_random_states


class ResumableEpochLoop(EpochBasedTrainLoop):
    """mmengine's loop, which goes on from any iteration, and makes up for a validation that a stop prevented.

    Args:
        kwargs: Of mmengine's loop.

    Attributes:
        progress: Where the training is.
        saved: What ``WholeCheckpointHook`` found in the checkpoint that the training goes on from.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.progress = Progress()
        self.saved: dict[str, Any] | None = None
        self._states: dict[str, Any] | None = None

    def run(self) -> Any:
        """Train."""
        self.runner.call_hook('before_train')
        require_same_place(self.runner)
        if self._iter:
            self._go_on()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._decide_current_val_interval()
            self._validate_if_due()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train for what is left of an epoch."""
        progress, states, self._states = self.progress, self._states, None
        if not progress.batch:
            progress.before_pass = random_states(gpu=True)
        elif states is not None:
            set_random_states(progress.before_pass)
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        first = progress.batch
        for index, batch in enumerate(batches_from(self.dataloader, first, states), first):
            progress.batch = index + 1
            self.run_iter(index, batch)
        progress.data_pass, progress.batch = progress.data_pass + 1, 0
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _go_on(self) -> None:
        if self._epoch:
            self._decide_current_val_interval()
        if self.saved is None:
            # of a checkpoint that does not say
            self.progress.validated = self._iter
            return
        self.progress, self._states = load_progress(self.runner, self.saved)
        self.saved = None
        if self._states is not None and not self.progress.batch:
            set_random_states(self._states)
            self._states = None
        self._validate_if_due()

    def _validate_if_due(self) -> None:
        at_end = self._epoch > 0 and not self.progress.batch
        begun = self._epoch >= self.val_begin
        in_turn = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        if self.runner.val_loop is not None and at_end and begun and in_turn:
            validate(self)
