"""Training by iterations that goes on in the middle of the data."""

from __future__ import annotations

from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.runner import IterBasedTrainLoop

from kd_plugins.engine.resume.data_passes import batches_from, sampler_of, tell_pass
from kd_plugins.engine.resume.progress import Progress, load_progress, require_same_place
from kd_plugins.engine.resume.validation import validate
from kd_plugins.randomness import random_states, set_random_states


class ResumableIterLoop(IterBasedTrainLoop):
    """mmengine's loop, which goes on where it was without loading what was trained on before.

    It makes up for a validation that a stop prevented.

    Args:
        kwargs: Of mmengine's loop.

    Attributes:
        progress: Where the training is.
        saved: What ``WholeCheckpointHook`` found in the checkpoint that the training goes on from.
    """

    dataloader_iterator: Any

    def __init__(self, **kwargs: Any) -> None:
        before = random_states(gpu=True)
        super().__init__(**kwargs)
        # mmengine has begun the first pass already; its fork has not
        begun = self.dataloader_iterator._iterator
        self._batches = iter(self.dataloader) if begun is None else begun
        # which would keep its workers when another pass begins
        self.dataloader_iterator = None
        self.progress = Progress(before_pass=before)
        self.saved: dict[str, Any] | None = None

    def run(self) -> Any:
        """Train."""
        self.runner.call_hook('before_train')
        require_same_place(self.runner)
        # hooks take the whole training for one epoch
        self.runner.call_hook('before_train_epoch')
        if self._iter:
            self._go_on()
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(self._next())
            self._decide_current_val_interval()
            self._validate_if_due()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _next(self) -> Any:
        batch = next(self._batches, None)
        if batch is None:
            self.progress.data_pass, self.progress.batch = self.progress.data_pass + 1, 0
            self.progress.before_pass = random_states(gpu=True)
            self._begin_pass(None)
            batch = next(self._batches)
        self.progress.batch += 1
        return batch

    def _begin_pass(self, states: dict[str, Any] | None) -> None:
        """Begin the present pass at the present batch, with random states for after those before it."""
        tell_pass(self.dataloader, self.progress.data_pass)
        self._batches = batches_from(self.dataloader, self.progress.batch, states)

    def _go_on(self) -> None:
        self._decide_current_val_interval()
        if self.saved is None:
            # of a checkpoint that does not say
            endless = _is_endless(sampler_of(self.dataloader))
            passed = (0, self._iter) if endless else divmod(self._iter, len(self.dataloader))
            self.progress.data_pass, self.progress.batch = passed
            self.progress.validated = self._iter
            self._begin_pass(None)
            return
        self.progress, states = load_progress(self.runner, self.saved)
        self.saved = None
        if states is not None:
            set_random_states(states)
        self._validate_if_due()
        if states is not None:
            states = random_states(gpu=True)
            set_random_states(self.progress.before_pass)
        self._begin_pass(states)

    def _validate_if_due(self) -> None:
        begun = self._iter > 0 and self._iter >= self.val_begin
        in_turn = self._iter % self.val_interval == 0 or self._iter == self._max_iters
        if self.runner.val_loop is not None and begun and in_turn:
            validate(self)


def _is_endless(sampler: Any) -> bool:
    return isinstance(sampler, InfiniteSampler) or (hasattr(sampler, 'sampler') and _is_endless(sampler.sampler))
