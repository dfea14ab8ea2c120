"""Validation of a distillation: the student each time, its frozen teacher once."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import is_model_wrapper
from mmengine.runner import ValLoop, autocast
from mmengine.runner.loops import _parse_losses

from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import LOOPS

TEACHER_PREFIX = 'teacher.'


@LOOPS.register_module()
class SingleTeacherDistillValLoop(ValLoop):
    """Adds the teacher's metrics to the student's, under ``teacher.``.

    A frozen teacher has the same metrics at every validation: it is evaluated at the first one of a run, and its
    metrics are repeated at the others. A trainable teacher is evaluated each time.

    Args:
        runner: The runner; its model is a :class:`SingleTeacherDistill`.
        dataloader: The validation data, or its config.
        evaluator: The evaluator, or its config.
        fp16: Validate under autocast.

    Raises:
        UserError: The model has no teacher.
    """

    def __init__(self, runner: Any, dataloader: Any, evaluator: Any, fp16: bool = False) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        self.algorithm = runner.model.module if is_model_wrapper(runner.model) else runner.model
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
        self.runner.call_hook('before_val')
        self.runner.call_hook('before_val_epoch')
        self.runner.model.eval()
        self.val_loss.clear()
        for idx, batch in enumerate(self.dataloader):
            self.run_iter(idx, batch)
        metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
        if self.val_loss:
            metrics.update(_parse_losses(self.val_loss, 'val'))
        if self.teacher_metrics is None or self.algorithm.teacher_trainable:
            self.teacher_metrics = self._evaluate_teacher()
        metrics.update(self.teacher_metrics)
        self.runner.call_hook('after_val_epoch', metrics=metrics)
        self.runner.call_hook('after_val')
        return metrics

    @torch.no_grad()
    def _evaluate_teacher(self) -> dict[str, float]:
        for batch in self.dataloader:
            with autocast(enabled=self.fp16):
                data = self.algorithm.data_preprocessor(batch, False)
                outputs = self.algorithm.teacher(**data, mode='predict')
            self.evaluator.process(data_samples=outputs, data_batch=batch)
        metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
        return {TEACHER_PREFIX + name: value for name, value in metrics.items()}
