"""Algorithms that add distill losses to the student's own and take one optimiser step for their sum."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from kd_plugins.algorithms.comparison import Comparison, Forward
from kd_plugins.algorithms.distill_algorithm import DistillAlgorithm, add_prefix
from kd_plugins.build import build_component
from kd_plugins.errors import Faults, UserError
from kd_plugins.recorders import RecorderSet, map_tensors
from kd_plugins.registry import MODELS


class OneStepDistill(DistillAlgorithm):
    """Sends a batch through the teachers, if any, and the student, and compares what was recorded.

    A subclass builds its teachers, then calls :meth:`attach`.

    Args:
        distiller: Config of the distiller.
        student_trainable: Train the student. If not, it runs without gradient, and only connectors learn.
        calculate_student_loss: Add the student's own loss.
        kwargs: Arguments of :class:`DistillAlgorithm`: architecture, data_preprocessor, init_cfg, module_inplace.

    Attributes:
        distillation_stopped: Set by ``StopDistillHook``: the student learns alone.
    """

    def __init__(
        self,
        distiller: dict[str, Any],
        student_trainable: bool = True,
        calculate_student_loss: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        faults = Faults(self.faults)
        self.distiller: Any = faults.attempt(build_component, MODELS, distiller, 'distiller')
        faults.adopt(self.distiller, 'distiller')
        self.faults = faults.settle()
        self.student_trainable = student_trainable
        self.calculate_student_loss = calculate_student_loss
        self.distillation_stopped = False
        if self.architecture is not None and not student_trainable:
            self.architecture.requires_grad_(False)

    def attach(self, teacher: nn.Module | None) -> Faults:
        """Attach the recorders to both models.

        Args:
            teacher: What the teacher's recorders record; None where it could not be built.

        Returns:
            Sources that are not there, while drafting.
        """
        faults = Faults()
        if self.distiller is not None:
            for model, prepare in (
                (self.architecture, self.distiller.prepare_from_student),
                (teacher, self.distiller.prepare_from_teacher),
            ):
                if model is not None:
                    faults += faults.attempt(prepare, model) or ()
        return Faults(fault.within('distiller') for fault in faults)

    def teacher_forwards(self) -> tuple[Forward, ...]:
        """What runs before the student in each step."""
        return ()

    def comparisons(self) -> tuple[Comparison, ...]:
        """The forwards of teachers and student, and what the distiller makes of them."""
        forwards = self.teacher_forwards()
        if self.architecture is not None:
            forwards = (*forwards, Forward(self._student_sides(), 'architecture', self.architecture, self.run_student))
        return (Comparison('distiller', 'distill', self.distiller, forwards),) if self.distiller is not None else ()

    def loss(self, inputs: torch.Tensor, data_samples: list[Any] | None = None) -> dict[str, torch.Tensor]:
        """Run teachers and student on a batch and compare them.

        Args:
            inputs: Preprocessed batch, (N, C, H, W) for images.
            data_samples: Its annotations.

        Returns:
            The losses by name: ``student.…``, ``distill.…``, and ``teacher.…`` of a trainable teacher.
        """
        if self.distillation_stopped:
            losses = self.architecture(inputs, data_samples, mode='loss')
            return {**self._own(losses), **self._idle_loss()}
        losses = {}
        for forward in self.teacher_forwards():
            losses.update(forward.run(inputs, data_samples))
        losses.update(self.run_student(inputs, data_samples))
        losses.update(add_prefix(self.compare(), 'distill'))
        return losses

    def compare(self) -> dict[str, torch.Tensor]:
        """The distill losses by name, of what the forwards left in the recorders.

        Raises:
            UserError: A record is not there, or two tensors do not meet in a loss.
        """
        try:
            return self.distiller.compute_distill_losses()
        except UserError as error:
            raise error.within('distiller') from error

    def run_student(self, inputs: torch.Tensor, data_samples: list[Any] | None) -> dict[str, torch.Tensor]:
        """Run the student while its recorders record and deliveries arrive; returns its losses."""
        run = partial(self.architecture, inputs, data_samples, mode='loss')
        return self._own(self.record(self.distiller.student_recorders, run, self.student_trainable, deliver=True))

    def record(
        self, recorders: RecorderSet, run: Callable[[], Any], learns: bool, deliver: bool = False
    ) -> dict[str, torch.Tensor]:
        """Run a model while recorders record it.

        Args:
            recorders: Of the model.
            run: Runs it.
            learns: Whether its weights learn. If not, it runs without gradient, unless a recorder needs one.
            deliver: Whether the deliveries replace what its functions return; if not, they queue it.

        Returns:
            What ``run`` returns.
        """
        learns = learns and torch.is_grad_enabled()
        deliveries = self.distiller.deliveries
        deliveries.override_data = deliver
        try:
            with deliveries, recorders, torch.set_grad_enabled(learns or recorders.needs_loss):
                losses = run()
            if recorders.needs_loss:
                recorders.take_gradients(self.parse_losses(losses)[0], create_graph=learns)
        except UserError as error:
            raise error.within('distiller') from error
        return losses if learns or not recorders.needs_loss else map_tensors(losses, torch.Tensor.detach)

    def _own(self, losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return add_prefix(losses, 'student') if self.calculate_student_loss else {}

    def _student_sides(self) -> tuple[str, ...]:
        return ('student',)

    def _idle_modules(self) -> list[nn.Module]:
        """What learns by distillation alone."""
        return [self.distiller]

    def _idle_loss(self) -> dict[str, torch.Tensor]:
        """A zero that touches every parameter that no longer learns: DistributedDataParallel waits for all of them."""
        idle = [weight for module in self._idle_modules() for weight in module.parameters() if weight.requires_grad]
        return {'distill.loss_stopped': torch.stack([weight.sum() * 0 for weight in idle]).sum()} if idle else {}
