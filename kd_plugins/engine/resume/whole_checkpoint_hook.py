"""Hook that saves checkpoints which are whole, and from which a training goes on exactly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook

from kd_plugins.checkpoint import BACKEND, OWN_KEY, WholeFileBackend
from kd_plugins.engine.model_of import model_of
from kd_plugins.engine.resume.progress import save_progress
from kd_plugins.registry import HOOKS
from kd_plugins.teacher.cache import digests_of_frozen

STOPPED = 'stopped_iter_{}.pth'


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """mmengine's hook, with nothing lost whenever the process ends.

    A checkpoint is written under another name, flushed to disk and renamed, and its SHA-256 is put beside it. The
    checkpoints that it replaces are removed after that, so there is room for one more. It holds what an exact
    resumption takes: random states, the place in the data, gradients of a step that is not complete, and the
    fingerprints of frozen teachers, which are not in it themselves.

    Args:
        kwargs: Of mmengine's ``CheckpointHook``.
    """

    def __init__(self, **kwargs: Any) -> None:
        elsewhere = '://' in str(kwargs.get('out_dir'))
        if not elsewhere and kwargs.get('backend_args') is None and kwargs.get('file_client_args') is None:
            kwargs['backend_args'] = dict(backend=BACKEND)
        super().__init__(**kwargs)
        self._own: dict[str, Any] = {}
        self._teachers: dict[str, str] | None = None
        self._saved_at = -1

    def save_stopped(self, runner: Any, iteration: int) -> str:
        """Save where a training stops, apart from the checkpoints of its schedule.

        Args:
            runner: The runner, in every process.
            iteration: Iterations that are done.

        Returns:
            The checkpoint: one of the schedule where that was saved just now.
        """
        if self._saved_at != iteration:
            self._keep_progress(runner)
            name = STOPPED.format(iteration)
            self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
            meta = dict(epoch=runner.epoch, iter=iteration)
            runner.save_checkpoint(self.out_dir, name, meta=meta, backend_args=self.backend_args, **self.args)
        return str(self.last_ckpt)

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
        """Save the best checkpoint, and note that this validation is done."""
        if hasattr(runner.train_loop, 'progress'):
            runner.train_loop.progress.validated = runner.iter
        super().after_val_epoch(runner, metrics)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Add what mmengine leaves out; not to the best one, from which nothing goes on."""
        if 'optimizer' in checkpoint and self._own:
            checkpoint[OWN_KEY], self._own = self._own, {}

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Hand what was saved to the loop of a training that is resumed."""
        if runner._resume and hasattr(runner.train_loop, 'saved'):
            runner.train_loop.saved = checkpoint.get(OWN_KEY)

    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict[str, Any]) -> None:
        self._keep_progress(runner)
        with self._removing_afterwards():
            super()._save_checkpoint_with_step(runner, step, meta)
            self._remove_stopped()
        self._saved_at = meta['iter']

    def _save_best_checkpoint(self, runner: Any, metrics: Any) -> None:
        with self._removing_afterwards():
            super()._save_best_checkpoint(runner, metrics)

    def _remove_stopped(self) -> None:
        if is_main_process() and isinstance(self.file_backend, WholeFileBackend):
            for path in Path(self.out_dir).glob(STOPPED.format('*')):
                self.file_backend.remove(path)

    def _keep_progress(self, runner: Any) -> None:
        if self._teachers is None:
            self._teachers = digests_of_frozen(model_of(runner))
        if hasattr(runner.train_loop, 'progress'):
            self._own = dict(save_progress(runner, runner.train_loop.progress), teachers=self._teachers)

    @contextmanager
    def _removing_afterwards(self) -> Iterator[None]:
        if isinstance(self.file_backend, WholeFileBackend):
            with self.file_backend.removing_afterwards():
                yield
        else:
            yield
