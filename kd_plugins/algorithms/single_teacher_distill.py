"""One teacher, one student."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from kd_plugins.algorithms.distill_algorithm import DistillAlgorithm, add_prefix, forbid_inplace
from kd_plugins.build import build_component
from kd_plugins.errors import Faults, UserError
from kd_plugins.registry import MODELS
from kd_plugins.teacher import FrozenTeacher, build_teacher


@MODELS.register_module()
class SingleTeacherDistill(DistillAlgorithm):
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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        faults = Faults(self.faults)
        self.distiller: Any = faults.attempt(build_component, MODELS, distiller, 'distiller')
        self.teacher_trainable = teacher_trainable
        self.teacher_norm_eval = teacher_norm_eval
        self.teacher_module_inplace = teacher_module_inplace
        self.student_trainable = student_trainable
        self.calculate_student_loss = calculate_student_loss
        # set by StopDistillHook
        self.distillation_stopped = False

        model = faults.attempt(build_teacher, teacher, teacher_ckpt)
        faults.adopt(model, '')
        if model is not None and not teacher_module_inplace:
            forbid_inplace(model)
        if teacher_trainable:
            self._modules['teacher'] = model
        else:
            self.frozen_teacher: Any = FrozenTeacher(model) if model is not None else None
        if self.architecture is not None and not student_trainable:
            self.architecture.requires_grad_(False)
        if self.distiller is not None:
            faults.adopt(self.distiller, 'distiller')
            faults += self._attach()
        self.faults = faults.settle()

    @property
    def teacher(self) -> Any:
        """The teacher's model."""
        if self.teacher_trainable:
            return self._modules['teacher']
        return self.frozen_teacher.model if self.frozen_teacher is not None else None

    def loss(self, inputs: torch.Tensor, data_samples: list[Any] | None = None) -> dict[str, torch.Tensor]:
        """Run teacher and student on a batch and compare them.

        Args:
            inputs: Preprocessed batch, (N, C, H, W) for images.
            data_samples: Its annotations.

        Returns:
            The losses by name: ``student.…``, ``distill.…``, and ``teacher.…`` of a trainable teacher.
        """
        losses = {}
        if not self.distillation_stopped:
            losses.update(self.run_teacher(inputs, data_samples))
        losses.update(self.run_student(inputs, data_samples))
        if not self.distillation_stopped:
            losses.update(self._compare())
        else:
            losses.update(self._idle_loss())
        return losses

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
        with self.distiller.teacher_recorders:
            if not self.teacher_trainable:
                self.frozen_teacher(inputs, data_samples, mode='loss')
                return {}
            return add_prefix(self.teacher(inputs, data_samples, mode='loss'), 'teacher')

    def run_student(self, inputs: torch.Tensor, data_samples: list[Any] | None) -> dict[str, torch.Tensor]:
        """Run the student, while its recorders record if distillation goes on; returns its losses."""
        learns = self.student_trainable and torch.is_grad_enabled()
        if self.distillation_stopped:
            losses = self.architecture(inputs, data_samples, mode='loss')
        else:
            with self.distiller.student_recorders, torch.set_grad_enabled(learns):
                losses = self.architecture(inputs, data_samples, mode='loss')
        return add_prefix(losses, 'student') if self.calculate_student_loss else {}

    def _compare(self) -> dict[str, torch.Tensor]:
        try:
            return add_prefix(self.distiller.compute_distill_losses(), 'distill')
        except UserError as error:
            raise error.within('distiller') from error

    def _attach(self) -> Faults:
        """Attach the recorders to both models; the faults are those of this call, also where it raises nothing."""
        faults = Faults()
        for model, prepare in (
            (self.architecture, self.distiller.prepare_from_student),
            (self.teacher, self.distiller.prepare_from_teacher),
        ):
            if model is not None:
                faults += faults.attempt(prepare, model) or ()
        return Faults(fault.within('distiller') for fault in faults)

    def _idle_loss(self) -> dict[str, torch.Tensor]:
        """A zero that touches every parameter that no longer learns: DistributedDataParallel waits for all of them."""
        idle = [*self.distiller.parameters(), *(self.teacher.parameters() if self.teacher_trainable else ())]
        idle = [parameter for parameter in idle if parameter.requires_grad]
        return {'distill.loss_stopped': sum(parameter.sum() * 0 for parameter in idle)} if idle else {}

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> SingleTeacherDistill:
        """Move and cast the frozen teacher along, which ``nn.Module`` cannot see."""
        super()._apply(fn, recurse)
        if not self.teacher_trainable:
            self.teacher._apply(fn)
        return self
