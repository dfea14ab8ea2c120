"""Several teachers, one student."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from kd_plugins.algorithms.comparison import Forward
from kd_plugins.algorithms.inplace import forbid_inplace
from kd_plugins.algorithms.one_step_distill import OneStepDistill
from kd_plugins.distiller import ConfigurableDistiller, LossSpec
from kd_plugins.errors import Fault, Faults
from kd_plugins.recorders import AveragedLogits
from kd_plugins.registry import MODELS
from kd_plugins.teacher import FrozenTeacher, TeacherForward, Teachers, are_trained, build_teachers


@MODELS.register_module()
class MultiTeacherDistill(OneStepDistill):
    """Trains a student on its own loss and on the distances to several frozen teachers.

    A teacher's source begins with the name of the teacher: ``teacher='r50.head.fc'``. A loss that compares with one
    teacher is multiplied by the weight of that teacher. Against the averaged probabilities of all of them, a loss takes
    ``teacher=dict(type='AveragedLogits', source='head.fc', tau=4)``, in which the weights are the shares.

    Paper: Distilling the Knowledge in a Neural Network, https://arxiv.org/abs/1503.02531

    Args:
        distiller: Config of the distiller.
        teachers: By name, ``dict(build_cfg=…, ckpt_path=None, weight=1.0, data_preprocessor=None)``: a model or the
            config of one; path or address of its weights, loaded weights-only, each must fit; how much it counts; and
            ``dict(mean=…, std=…, to_rgb=…)`` of its images, where they are not the student's.
        student_trainable: Train the student. If not, it runs without gradient, and only connectors learn.
        calculate_student_loss: Add the student's own loss.
        teacher_module_inplace: Leave activations of the teachers that work in place as they are.
        teacher_forward: How the teachers are run, as for ``SingleTeacherDistill``.
        teacher_cache: Folder of the teacher's records that ``tools/cache_teacher.py`` wrote: the teacher is not run in
            training then.
        kwargs: Arguments of :class:`DistillAlgorithm`: architecture, data_preprocessor, init_cfg, module_inplace.

    Raises:
        UserError: With what is wrong in the config, each fault under its key path.
    """

    def __init__(
        self,
        distiller: dict[str, Any],
        teachers: Mapping[str, Any],
        student_trainable: bool = True,
        calculate_student_loss: bool = True,
        teacher_module_inplace: bool = False,
        teacher_forward: Mapping[str, Any] | None = None,
        teacher_cache: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(distiller, student_trainable, calculate_student_loss, **kwargs)
        faults = Faults(self.faults)
        preprocessor = self.data_preprocessor if self.architecture is not None else None
        built = faults.attempt(build_teachers, teachers, preprocessor)
        faults.adopt(built, '')
        if built is not None:
            if not teacher_module_inplace:
                forbid_inplace(built)
            settings = faults.attempt(TeacherForward.read, teacher_forward)
            self.frozen_teacher = FrozenTeacher(built, bool(built.names) and are_trained(teachers), settings)
        faults += self.attach(built)
        faults += self._temperatures_that_differ()
        faults += self.use_cache(teacher_cache)
        self.faults = faults.settle()

    @property
    def teacher(self) -> Teachers | None:
        """The teachers."""
        return self.frozen_teacher.model if self.frozen_teacher is not None else None  # type: ignore[return-value]

    def teacher_forwards(self) -> tuple[Forward, ...]:
        """The forward of all teachers."""
        return (Forward(('teacher',), 'teachers', self.teacher, self.run_teachers),) if self.teacher else ()

    def run_teachers(self, inputs: torch.Tensor, data_samples: list[Any] | None) -> dict[str, torch.Tensor]:
        """Run the teachers while their recorders record."""
        self.record_teacher(inputs, data_samples)
        return {}

    def compare(self, cached: Mapping[Any, torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
        """The distill losses by name; those against one teacher carry its weight."""
        losses = super().compare(cached)
        if isinstance(self.distiller, ConfigurableDistiller):
            for mapping in self.distiller.spec.mappings:
                if mapping.name in losses:
                    losses[mapping.name] = losses[mapping.name] * self._weight(mapping)
        return losses

    def _weight(self, mapping: LossSpec) -> float:
        names = {
            self._recorder_source(record.recorder).partition('.')[0]
            for record in mapping.arguments.values()
            if not record.from_student
        }
        return self.teacher.weights.get(names.pop(), 1.0) if self.teacher and len(names) == 1 else 1.0

    def _recorder_source(self, name: str) -> str:
        recorder = self.distiller.teacher_recorders.recorders[name]
        return '' if isinstance(recorder, AveragedLogits) else recorder.source

    def _temperatures_that_differ(self) -> Faults:
        """Averaged probabilities are those of one temperature."""
        faults = Faults()
        if not isinstance(self.distiller, ConfigurableDistiller):
            return faults
        for mapping in self.distiller.spec.mappings:
            loss = dict(self.distiller.distill_losses.items()).get(mapping.name)
            for record in mapping.arguments.values():
                recorder = self.distiller.teacher_recorders.recorders.get(record.recorder)
                if record.from_student or not isinstance(recorder, AveragedLogits):
                    continue
                tau = getattr(loss, 'tau', recorder.tau)
                if tau != recorder.tau:
                    declared = self.distiller.spec.teacher_recorders[record.recorder]
                    fault = Fault('tau', f'the {tau} of {mapping.name}', str(recorder.tau), f'set tau={tau}')
                    faults.append(declared.blame(fault).within('distiller'))
        return faults
