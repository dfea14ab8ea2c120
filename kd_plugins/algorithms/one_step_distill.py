"""Algorithms that add distill losses to the student's own and take one optimiser step for their sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from kd_plugins.algorithms.comparison import Comparison, Forward
from kd_plugins.algorithms.distill_algorithm import DistillAlgorithm, add_prefix
from kd_plugins.algorithms.inplace import allow_inplace
from kd_plugins.distiller import build_distiller
from kd_plugins.errors import Fault, Faults, UserError
from kd_plugins.memory_format import reads_in_order, store_channels_last
from kd_plugins.recorders import RecorderSet, map_tensors
from kd_plugins.teacher.cache import TeacherCache, refusals
from kd_plugins.teacher.fast_forward import Run

# what the student's own losses are called where factors of losses are given by name
STUDENT = 'student'


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
        loss_factors: What losses are multiplied by at present, see :meth:`set_loss_factors`; none at first.
        teacher_cache: Where the teacher's records come from in training; None where the teacher runs.
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
        self.distiller: Any = faults.attempt(build_distiller, distiller, 'distiller')
        faults.adopt(self.distiller, 'distiller')
        if self.distiller is not None and self.channels_last:
            store_channels_last(self.distiller)
        self.faults = faults.settle()
        self.student_trainable = student_trainable
        self.calculate_student_loss = calculate_student_loss
        self.distillation_stopped = False
        self.loss_factors: dict[str, float] = {}
        self.teacher_cache: TeacherCache | None = None
        if self.architecture is not None and not student_trainable:
            self.architecture.requires_grad_(False)

    def attach(self, teacher: nn.Module | None) -> Faults:
        """Attach the recorders to both models, and settle which of them have channels last.

        Args:
            teacher: What the teacher's recorders record; None where it could not be built.

        Returns:
            Sources that are not there, while drafting.
        """
        if self.frozen_teacher is None and teacher is not None and reads_in_order(teacher):
            self.keep_contiguous()
        if self.frozen_teacher is not None and self.architecture is not None and reads_in_order(self.architecture):
            # a loss may hand back a gradient in the layout of the teacher's record
            self.frozen_teacher.keep_contiguous()
        faults = Faults()
        if self.distiller is not None:
            for model, prepare in (
                (self.architecture, self.distiller.prepare_from_student),
                (teacher, self.distiller.prepare_from_teacher),
            ):
                if model is not None:
                    faults += faults.attempt(prepare, model) or ()
        return Faults(fault.within('distiller') for fault in faults)

    def use_cache(self, folder: str | None) -> list[Fault]:
        """Take the teacher's records from a cache in training, instead of running the teacher.

        Args:
            folder: Of the cache, which is not opened yet; None for none.

        Returns:
            Why this algorithm cannot.
        """
        if folder is None:
            return []
        self.teacher_cache = TeacherCache(folder)
        return refusals(self)

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
            return {**self._run_alone(inputs, data_samples), **self._idle_loss()}
        if not self.loss_factors:
            return self._losses(inputs, data_samples)
        compares = any(factor for name, factor in self.loss_factors.items() if name != STUDENT)
        run = self._losses if compares else self._run_alone
        return self._multiply(run(inputs, data_samples), _device_of(inputs))

    def set_loss_factors(self, factors: Mapping[str, float]) -> None:
        """Multiply the losses from now on, on top of their own weights.

        A distill loss of factor 0 is not computed, and where all are 0 the teacher is not run. Losses stay in the log,
        and each parameter keeps a gradient, be it zero, for which DistributedDataParallel waits.

        Args:
            factors: Factor of each distill loss, by name, and of all the student's own losses, under ``'student'``; an
                empty dict for none.
        """
        self.loss_factors = dict(factors)
        self.distiller.skipped_losses = frozenset(name for name, factor in factors.items() if not factor)

    def _run_alone(self, inputs: torch.Tensor, data_samples: list[Any] | None) -> dict[str, torch.Tensor]:
        return self._own(self.architecture(inputs, data_samples, mode='loss'))

    def _losses(self, inputs: torch.Tensor, data_samples: list[Any] | None) -> dict[str, torch.Tensor]:
        if self.teacher_cache is not None:
            # asked for first, so that the copy to the device goes on while the student runs
            cached = self.teacher_cache.records(self, data_samples, _device_of(inputs))
            losses = self.run_student(inputs, data_samples)
            return {**losses, **add_prefix(self.compare(cached), 'distill')}
        losses = {}
        for forward in self.teacher_forwards():
            losses.update(forward.run(inputs, data_samples))
        losses.update(self.run_student(inputs, data_samples))
        losses.update(add_prefix(self.compare(), 'distill'))
        return losses

    def compare(self, cached: Mapping[Any, torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
        """The distill losses by name, of what the forwards left in the recorders.

        Args:
            cached: The teacher's records, where they come from a cache.

        Raises:
            UserError: A record is not there, or two tensors do not meet in a loss.
        """
        try:
            return self.distiller.compute_distill_losses(*([] if cached is None else [cached]))
        except UserError as error:
            raise error.within('distiller') from error

    def record_teacher(
        self, inputs: torch.Tensor, data_samples: list[Any] | None, runs: Sequence[Run] = ()
    ) -> dict[str, torch.Tensor]:
        """Run the frozen teacher while its recorders record, as fast as its settings say.

        Args:
            inputs: Preprocessed batch.
            data_samples: Its annotations.
            runs: Other ways of running it than :class:`FrozenTeacher` knows.
        """
        teacher, recorders = self.frozen_teacher, self.distiller.teacher_recorders
        if teacher is None:
            return {}
        # a delivery takes what a function returns, be it recorded or not
        whole = bool(self.distiller.deliveries.deliveries) or recorders.needs_loss
        return self.record(
            recorders, partial(teacher.record, recorders, inputs, data_samples, runs, whole), learns=False
        )

    def run_student(self, inputs: torch.Tensor, data_samples: list[Any] | None) -> dict[str, torch.Tensor]:
        """Run the student while its recorders record and deliveries arrive; returns its losses."""
        inputs = self.lay_out(inputs, data_samples)
        if self._activations and self.architecture.training:
            waiting, self._activations = self._activations, []
            # a delivery is not to be had twice
            if not self.distiller.deliveries.deliveries and self._student_sides() == ('student',):
                recorders = self.distiller.student_recorders
                allow_inplace(self.architecture, waiting, recorders, inputs, data_samples)
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
        zero = _touching(self._idle_modules())
        return {} if zero is None else {'distill.loss_stopped': zero}

    def _multiply(self, losses: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
        """The losses times their factors; what factor 0 leaves of them touches what may have lost its only loss."""
        own = self.loss_factors.get(STUDENT, 1.0) if self.calculate_student_loss else 0.0
        factors = {name: own for name in losses if name.startswith(f'{STUDENT}.') and 'loss' in name}
        factors |= {f'distill.{name}': factor for name, factor in self.loss_factors.items() if name != STUDENT}
        idle = () if all(factors.values()) else self._idle_modules() if own else [self]
        touch = _touching(idle)
        zero = torch.zeros((), device=device) if touch is None else touch
        weighed = {
            name: map_tensors(losses[name], partial(torch.mul, other=factor)) if factor else zero
            for name, factor in factors.items()
        }
        return {**losses, **weighed}


def _touching(modules: Sequence[nn.Module]) -> torch.Tensor | None:
    """A zero that depends on all parameters of the modules, which DistributedDataParallel waits for; None for none."""
    idle = [weight for module in modules for weight in module.parameters() if weight.requires_grad]
    return torch.stack([weight.sum() * 0 for weight in idle]).sum() if idle else None


def _device_of(inputs: Any) -> torch.device:
    return inputs.device if isinstance(inputs, torch.Tensor) else inputs[0].device
