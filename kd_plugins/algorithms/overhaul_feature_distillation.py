"""Feature distillation before the activation, with margins."""

from __future__ import annotations

from typing import Any

from kd_plugins.algorithms.single_teacher_distill import SingleTeacherDistill
from kd_plugins.distiller import OFDDistiller
from kd_plugins.errors import Fault, Faults
from kd_plugins.registry import MODELS


@MODELS.register_module()
class OverhaulFeatureDistillation(SingleTeacherDistill):
    """Single-teacher distillation with an ``OFDDistiller``, which sets the margins from the teacher's BatchNorms.

    Paper: A Comprehensive Overhaul of Feature Distillation, https://arxiv.org/abs/1904.01866

    Args:
        kwargs: Arguments of :class:`SingleTeacherDistill`.

    Raises:
        UserError: The distiller is no ``OFDDistiller``, or something else is wrong in the config.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        faults = Faults(self.faults)
        if self.distiller is not None and not isinstance(self.distiller, OFDDistiller):
            got, advice = type(self.distiller).__name__, "write type='OFDDistiller', or use SingleTeacherDistill"
            faults.append(Fault('distiller.type', 'OFDDistiller', got, advice))
        self.faults = faults.settle()
