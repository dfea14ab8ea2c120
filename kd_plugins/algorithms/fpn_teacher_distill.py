"""A teacher that runs to its neck only."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from kd_plugins.algorithms.single_teacher_distill import SingleTeacherDistill
from kd_plugins.errors import Fault, Faults
from kd_plugins.registry import MODELS


@MODELS.register_module()
class FpnTeacherDistill(SingleTeacherDistill):
    """Single-teacher distillation of features: the teacher computes backbone and neck, and leaves out its head.

    For detectors, whose heads cost much. A trainable teacher has no loss of its own here: it learns by distillation.

    Args:
        kwargs: Arguments of :class:`SingleTeacherDistill`.

    Raises:
        UserError: The teacher has no ``extract_feat``, or something else is wrong in the config.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        faults = Faults(self.faults)
        if self.teacher is not None and not callable(getattr(self.teacher, 'extract_feat', None)):
            got = f'a {type(self.teacher).__name__}'
            faults.append(Fault('teacher', 'a model with extract_feat', got, 'use SingleTeacherDistill'))
        if self.distiller is not None and self.distiller.teacher_recorders.needs_loss:
            expected, advice = 'records that need no loss of the teacher', 'use SingleTeacherDistill'
            faults.append(Fault('distiller.teacher_recorders', expected, 'ModuleOutputGrads', advice))
        self.faults = faults.settle()

    def run_teacher(self, inputs: torch.Tensor, data_samples: list[Any] | None) -> dict[str, torch.Tensor]:
        """Run the teacher's backbone and neck while its recorders record."""
        if not self.teacher_trainable:
            self.record_teacher(inputs, data_samples, [self._extract])
        else:
            self.record(self.distiller.teacher_recorders, partial(self._extract, inputs), learns=True)
        return {}

    def _extract(self, inputs: torch.Tensor, data_samples: Any = None) -> Any:
        return self.teacher.extract_feat(inputs)
