"""Validation of a distillation: the student each time, its frozen teachers once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import ValLoop, autocast
from mmengine.runner.loops import _parse_losses, _update_losses

from kd_plugins.engine.model_of import model_of
from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import LOOPS
from kd_plugins.report.run_log import TEACHER_PREFIX
from kd_plugins.teacher import Teachers


@LOOPS.register_module()
class SingleTeacherDistillValLoop(ValLoop):
    """Adds the teacher's metrics to the student's, under ``teacher.``; those of several under ``teacher.NAME.``.

    A frozen teacher has the same metrics at every validation: it is evaluated at the first one of a run, and its
    metrics are repeated at the others. A trainable teacher is evaluated each time.

    Args:
        runner: The runner; its model is a distillation with a teacher or several.
        dataloader: The validation data, or its config.
        evaluator: The evaluator, or its config.
        fp16: Validate under autocast.

    Raises:
        UserError: The model has no teacher.
    """

    def __init__(self, runner: Any, dataloader: Any, evaluator: Any, fp16: bool = False) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        self.algorithm = model_of(runner)
        if not hasattr(self.algorithm, 'teacher'):
            raise UserError(
                Fault(
                    'val_cfg.type',
                    'a validation loop of the model',
                    f'SingleTeacherDistillValLoop for a {type(self.algorithm).__name__}, which has no teacher',
                    "write val_cfg = dict(type='ValLoop')",
                )
            )
        self.teacher_metrics: dict[str, float] | None = None

    def run(self) -> dict[str, float]:
        """Validate.

        Returns:
            The student's metrics, and the teacher's under ``teacher.``.
        """
        metrics = run_student(self)
        if self.teacher_metrics is None or getattr(self.algorithm, 'teacher_trainable', False):
            self.teacher_metrics = self.evaluate_teachers()
        metrics.update(self.teacher_metrics)
        self.runner.call_hook('after_val_epoch', metrics=metrics)
        self.runner.call_hook('after_val')
        return metrics

    def evaluate_teachers(self) -> dict[str, float]:
        """The metrics of the teachers alone, under ``teacher.``; no hook is told."""
        teacher = self.algorithm.teacher
        if not isinstance(teacher, Teachers):
            return self._evaluate(teacher, TEACHER_PREFIX)
        metrics = {}
        for name in teacher.names:
            metrics.update(self._evaluate(partial(teacher.run, name), f'{TEACHER_PREFIX}{name}.'))
        return metrics

    @torch.no_grad()
    def _evaluate(self, teacher: Callable[..., Any], prefix: str) -> dict[str, float]:
        losses: dict[str, HistoryBuffer] = {}
        for batch in self.dataloader:
            with autocast(enabled=self.fp16):
                data = self.algorithm.data_preprocessor(batch, False)
                forward = partial(teacher, **data) if isinstance(data, Mapping) else partial(teacher, *data)
                outputs = forward(mode='predict')
            # some models append their losses to their predictions
            outputs, losses = _update_losses(outputs, losses)
            self.evaluator.process(data_samples=outputs, data_batch=batch)
        return add_prefix(evaluate(self, losses), prefix)


def run_student(loop: ValLoop) -> dict[str, float]:
    """Validate the student, as mmengine's ``ValLoop`` does, up to the hooks that are told the metrics."""
    loop.runner.call_hook('before_val')
    loop.runner.call_hook('before_val_epoch')
    loop.runner.model.eval()
    loop.val_loss.clear()
    for idx, batch in enumerate(loop.dataloader):
        loop.run_iter(idx, batch)
    return evaluate(loop, loop.val_loss)


def evaluate(loop: ValLoop, losses: dict[str, HistoryBuffer]) -> dict[str, float]:
    """The metrics of what the evaluator has seen, and the means of losses."""
    metrics = loop.evaluator.evaluate(len(loop.dataloader.dataset))
    if losses:
        metrics.update(_parse_losses(losses, 'val'))
    return metrics


def add_prefix(metrics: dict[str, float], prefix: str) -> dict[str, float]:
    """The metrics under longer names, in their order."""
    return {prefix + name: value for name, value in metrics.items()}
