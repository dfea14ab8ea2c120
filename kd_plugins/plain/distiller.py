"""The distiller of a training loop of the user's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from types import TracebackType
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import nn

from kd_plugins.algorithms.inplace import allow_inplace, forbid_inplace
from kd_plugins.arguments import refuse_other_keys
from kd_plugins.distiller import ConfigurableDistiller
from kd_plugins.errors import Fault, UserError
from kd_plugins.memory_format import reads_in_order
from kd_plugins.plain.calling import call, leaving_no_trace, unwrap
from kd_plugins.plain.losses import build_losses, naming_the_argument
from kd_plugins.plain.switches import Switches
from kd_plugins.recorders import guard_hooks
from kd_plugins.teacher import FrozenTeacher, TeacherForward
from kd_plugins.teacher.fast_forward import first_of

# what is for models of mmengine, and what cannot be undone
NOT_HERE = ('mode', 'shard')


class Distiller(nn.Module):
    """Compares a student with a frozen teacher, in a training loop of the user's own.

    The student stays the user's: it is called, optimised, wrapped and saved as ever. Each step records its forward
    inside :meth:`record`, then calls the distiller on the same batch, which runs the teacher and returns the losses::

        distiller = Distiller(student, teacher, losses, sample=images)
        optimizer = torch.optim.SGD([*student.parameters(), *distiller.parameters()], lr=0.1)
        for images, labels in loader:
            with distiller.record():
                logits = student(images)
            losses = distiller(images)
            total = F.cross_entropy(logits, labels) + sum(losses.values())
            total.backward()
            …
        distiller.close()

    What is called outside of :meth:`record`, such as validation, leaves nothing behind.

    As a module it holds the connectors, which convert the student's records: they are its ``parameters()`` and its
    ``state_dict()`` (beside the state of a loss that has some, such as CRD's memory). It holds neither the student nor
    the teacher, so put both on their device, and load the teacher's weights, before.

    Until :meth:`close`, the teacher is in eval mode as a whole and without gradient, and both models have hooks.
    Activations of the student that overwrite their input keep it, unless a run on ``sample`` shows that no record
    minds. Closing, or leaving ``with Distiller(…) as distiller:``, removes the hooks and restores the switches, the
    teacher's ``training`` and ``requires_grad`` among them, as they were found.

    With ``DistributedDataParallel``, build the distiller from the bare student, then wrap both: gradients of the
    connectors are averaged by a wrapper of their own, which torch refuses for a distiller without parameters::

        student, compare = DistributedDataParallel(student), DistributedDataParallel(distiller)
        with distiller.record():
            logits = student(images)
        losses = compare(images)

    Under autocast, put both calls inside: the teacher runs in its dtype, the losses are computed in float32. A student
    may be compiled, by ``torch.compile`` or its own ``compile``, before or after; one that was compiled and *run*
    before needs ``torch.compiler.reset()``.

    Args:
        student: Any module that learns; inside ``DistributedDataParallel`` or ``torch.compile``'s wrapper, sources
            are still named as the bare module names them.
        teacher: Any module with trained weights, none of them the student's. A model of mmengine is called in its mode
            ``'tensor'``, without its preprocessor.
        losses: By name, which contains ``'loss'``: the type of a loss (a registered name or a class), its arguments,
            and its ``student``, ``teacher`` and ``connector``, as ``distill_losses`` of
            :class:`~kd_plugins.distiller.ConfigurableDistiller` has them in the short form.
        sample: A batch that both models take, of two images or more, as for :meth:`forward`. It is sent through them,
            without a trace, to work out connectors that are ``'auto'`` or lack their channels, and to find what does
            not meet. None: nothing is run, and connectors have to be written out.
        teacher_forward: Switches of :class:`~kd_plugins.teacher.TeacherForward`, such as ``dict(dtype='bf16')``; all
            but ``mode`` and ``shard``.

    Raises:
        UserError: With all that is wrong; both models are as they were then.

    Example:
        >>> student, teacher = nn.Sequential(nn.Linear(4, 3)), nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
        >>> losses = dict(loss_kl=dict(type='KLDivergence', tau=4, student='0', teacher='1'))
        >>> images = torch.rand(5, 4)
        >>> with Distiller(student, teacher, losses, sample=images) as distiller:
        ...     with distiller.record():
        ...         logits = student(images)
        ...     found = distiller(images)
        >>> {name: tuple(loss.shape) for name, loss in found.items()}
        {'loss_kl': ()}
    """

    _distiller: ConfigurableDistiller

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        losses: Mapping[str, Any],
        sample: Any = None,
        teacher_forward: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        _require_two_models(student, teacher)
        settings = _read_settings(teacher_forward)
        student, teacher = unwrap(student), unwrap(teacher)
        self._closed = False
        self._switches = Switches(student, teacher)
        try:
            self._build(student, teacher, losses, sample, settings)
        except BaseException:
            self._switches.restore()
            raise

    def _build(self, student: nn.Module, teacher: nn.Module, losses: Any, sample: Any, settings: Any) -> None:
        forbid_inplace(teacher)
        overwriting = forbid_inplace(student)
        self._teacher = FrozenTeacher(teacher, settings=settings)
        if reads_in_order(student):
            # a loss may hand back a gradient in the layout of the teacher's record
            self._teacher.keep_contiguous()
        few = first_of(sample, None)[0]
        with naming_the_argument():
            distiller = build_losses(losses, student, teacher, few)
        try:
            # torch.compile must not reuse code that was made for other hooks
            guard_hooks()
            if sample is not None:
                with leaving_no_trace(student):
                    allow_inplace(
                        student, overwriting, distiller.student_recorders, few, None, lambda few, _: call(student, few)
                    )
            _prepare_connectors(distiller, student)
        except BaseException:
            distiller.detach()
            raise
        # not as a submodule: names in state_dict() need no prefix for what the user does not see
        self.__dict__['_distiller'] = distiller
        self.connectors, self.distill_losses = distiller.connectors, distiller.distill_losses

    @contextmanager
    def record(self) -> Iterator[None]:
        """Record what the student computes inside; it is called once, by whatever wrapper it has.

        Raises:
            UserError: The distiller is closed.
        """
        self._require_open()
        with self._distiller.student_recorders:
            yield

    def forward(self, batch: Any) -> dict[str, torch.Tensor]:
        """Run the teacher on a batch, and compare it with what the student computed in :meth:`record`.

        Args:
            batch: What the student has seen, as the teacher takes it: (N, C, H, W) for images. A tuple holds positional
                arguments, a dict keyword arguments; anything else is the only argument.

        Returns:
            The losses by name, each multiplied by its ``loss_weight``, in float32 at least, and a scalar unless its
            ``reduction`` is ``'none'``. The records are forgotten.

        Raises:
            UserError: The student's forward was not recorded, or two records do not meet.
        """
        self._require_open()
        self._require_records()
        recorders, teacher = self._distiller.teacher_recorders, self._teacher
        try:
            with recorders:
                teacher.record(recorders, batch, None, [lambda batch, _: call(teacher.model, batch)])
            with naming_the_argument():
                return self._distiller.compute_distill_losses()
        except BaseException:
            self._distiller.pop_records()
            raise

    def close(self) -> None:
        """Remove all hooks, and restore what was switched in the two models. Closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        self._distiller.detach()
        self._distiller.pop_records()
        self._switches.restore()

    def __enter__(self) -> Distiller:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _require_open(self) -> None:
        if self._closed:
            raise UserError(Fault('', 'a distiller that is in use', 'one that was closed', 'build another one'))

    def _require_records(self) -> None:
        parts = self._distiller.student_recorders.parts()
        if parts and not any(part.calls for part in parts):
            advice = (
                'call the student inside `with distiller.record():` before each call of the distiller; if it was '
                'compiled, and had run before the distiller was built, call torch.compiler.reset() once'
            )
            raise UserError(Fault('', 'a recorded forward of the student', 'none', advice))


def _require_two_models(student: Any, teacher: Any) -> None:
    for name, model in (('student', student), ('teacher', teacher)):
        if not isinstance(model, nn.Module):
            got, advice = f'a {type(model).__name__}', 'build the model first; a config is for SingleTeacherDistill'
            raise UserError(Fault(name, 'a torch.nn.Module', got, advice))
    if set(map(id, student.parameters())) & set(map(id, teacher.parameters())):
        got, advice = "some of the student's, which would be frozen", 'pass copy.deepcopy(student) as the teacher'
        raise UserError(Fault('teacher', 'a model with weights of its own', got, advice))


def _read_settings(teacher_forward: Mapping[str, Any] | None) -> TeacherForward:
    settings = TeacherForward.read(teacher_forward)
    names = [field.name for field in fields(TeacherForward) if field.name not in NOT_HERE]
    refuse_other_keys('teacher_forward', teacher_forward or {}, names)
    return settings


def _prepare_connectors(distiller: ConfigurableDistiller, student: nn.Module) -> None:
    """Initialise connectors as their configs say, and put them where the student's records will be."""
    for connector in distiller.connectors.modules():
        if isinstance(connector, BaseModule) and connector.init_cfg:
            connector.init_weights()
    weight = next((weight for weight in student.parameters() if weight.is_floating_point()), None)
    if weight is not None:
        distiller.connectors.to(weight.device, weight.dtype)
        distiller.distill_losses.to(weight.device)
