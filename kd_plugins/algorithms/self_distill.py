"""A student that is its own teacher."""

from __future__ import annotations

from typing import Any

from kd_plugins.algorithms.one_step_distill import OneStepDistill
from kd_plugins.errors import Faults
from kd_plugins.registry import MODELS


@MODELS.register_module()
class SelfDistill(OneStepDistill):
    """Trains a student on its own loss and on the distance between its own records.

    Both the student's and the teacher's recorders tap the one forward of the student. Gradient flows into the
    teacher's records as well, unless the distiller cuts it: ``BYOTDistiller`` does.

    Paper: Be Your Own Teacher: Improve the Performance of Convolutional Neural Networks via Self Distillation,
    https://arxiv.org/abs/1905.08094

    Args:
        distiller: Config of the distiller.
        student_trainable: Train the student. If not, it runs without gradient, and only connectors learn.
        calculate_student_loss: Add the student's own loss.
        kwargs: Arguments of :class:`DistillAlgorithm`: architecture, data_preprocessor, init_cfg, module_inplace.

    Raises:
        UserError: With what is wrong in the config, each fault under its key path.
    """

    def __init__(
        self,
        distiller: dict[str, Any],
        student_trainable: bool = True,
        calculate_student_loss: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(distiller, student_trainable, calculate_student_loss, **kwargs)
        faults = Faults(self.faults)
        faults += self.attach(self.architecture)
        self.faults = faults.settle()

    def run_student(self, inputs: Any, data_samples: list[Any] | None) -> dict[str, Any]:
        """Run the student while all recorders record; returns its losses."""
        # before anything is recorded
        inputs = self.lay_out(inputs, data_samples)
        with self.distiller.teacher_recorders:
            return super().run_student(inputs, data_samples)

    def _student_sides(self) -> tuple[str, ...]:
        return ('student', 'teacher')
