"""One teacher, one student."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from kd_plugins.algorithms.comparison import Forward
from kd_plugins.algorithms.distill_algorithm import add_prefix
from kd_plugins.algorithms.inplace import forbid_inplace
from kd_plugins.algorithms.one_step_distill import OneStepDistill
from kd_plugins.errors import Faults
from kd_plugins.registry import MODELS
from kd_plugins.teacher import FrozenTeacher, TeacherForward, build_teacher, is_trained


@MODELS.register_module()
class SingleTeacherDistill(OneStepDistill):
    """Trains a student on its own loss and on the distance to a teacher.

    The keys and their meaning are MMRazor's. A frozen teacher (the default) is a :class:`FrozenTeacher`: it is wholly
    in eval mode and outside the optimiser, the checkpoint, EMA and DistributedDataParallel.

    Args:
        distiller: Config of the distiller.
        teacher: The teacher: a model, the config of one, or ``dict(cfg_path='mmpretrain::…', pretrained=True)``.
        teacher_ckpt: Path or address of the teacher's weights, loaded weights-only; each must fit.
        teacher_trainable: Train the teacher along, on its own loss. It is a part of the model like any other then.
        teacher_norm_eval: Keep the BatchNorms of a trainable teacher in eval mode.
        student_trainable: Train the student. If not, it runs without gradient, and only connectors learn.
        calculate_student_loss: Add the student's own loss.
        teacher_module_inplace: Leave activations of the teacher that work in place as they are.
        teacher_forward: How a frozen teacher is run, see :class:`kd_plugins.teacher.TeacherForward`:
            ``dict(fold_bn=True, inplace=True, channels_last=True, stop_early=True, mode='auto', inference_mode=False,
            dtype=None, compile=False, shard=False)``. A trainable one runs as it is.
        teacher_cache: Folder of the teacher's records that ``tools/cache_teacher.py`` wrote: the teacher is not run in
            training then.
        kwargs: Arguments of :class:`DistillAlgorithm`: architecture, data_preprocessor, init_cfg, module_inplace.

    Raises:
        UserError: With what is wrong in the config, each fault under its key path.
    """

    def __init__(
        self,
        distiller: dict[str, Any],
        teacher: Any,
        teacher_ckpt: str | None = None,
        teacher_trainable: bool = False,
        teacher_norm_eval: bool = True,
        student_trainable: bool = True,
        calculate_student_loss: bool = True,
        teacher_module_inplace: bool = False,
        teacher_forward: Mapping[str, Any] | None = None,
        teacher_cache: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(distiller, student_trainable, calculate_student_loss, **kwargs)
        faults = Faults(self.faults)
        self.teacher_trainable = teacher_trainable
        self.teacher_norm_eval = teacher_norm_eval
        self.teacher_module_inplace = teacher_module_inplace

        model = faults.attempt(build_teacher, teacher, teacher_ckpt)
        faults.adopt(model, '')
        if model is not None and not teacher_module_inplace:
            forbid_inplace(model)
        settings = faults.attempt(TeacherForward.read, teacher_forward)
        if teacher_trainable:
            self._modules['teacher'] = model
        elif model is not None:
            self.frozen_teacher = FrozenTeacher(model, is_trained(teacher, teacher_ckpt), settings)
        faults += self.attach(model)
        faults += self.use_cache(teacher_cache)
        self.faults = faults.settle()

    @property
    def teacher(self) -> Any:
        """The teacher's model."""
        if self.teacher_trainable:
            return self._modules['teacher']
        return self.frozen_teacher.model if self.frozen_teacher is not None else None

    def teacher_models(self) -> dict[str, nn.Module]:
        """The teacher by the key path of its config."""
        return {'teacher': self.teacher} if self.teacher is not None else {}

    def teacher_forwards(self) -> tuple[Forward, ...]:
        """The forward of the teacher."""
        return (Forward(('teacher',), 'teacher', self.teacher, self.run_teacher),) if self.teacher is not None else ()

    def train(self, mode: bool = True) -> SingleTeacherDistill:
        """Set the mode of the student, the connectors and a trainable teacher."""
        super().train(mode)
        if mode and self.teacher_trainable and self.teacher_norm_eval:
            for module in self.teacher.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def run_teacher(self, inputs: torch.Tensor, data_samples: list[Any] | None) -> dict[str, torch.Tensor]:
        """Run the teacher while its recorders record; returns the losses of a trainable one."""
        if not self.teacher_trainable:
            self.record_teacher(inputs, data_samples)
            return {}
        run = partial(self.teacher, inputs, data_samples, mode='loss')
        return add_prefix(self.record(self.distiller.teacher_recorders, run, learns=True), 'teacher')

    def _idle_modules(self) -> list[nn.Module]:
        return [self.distiller, self.teacher] if self.teacher_trainable else [self.distiller]
