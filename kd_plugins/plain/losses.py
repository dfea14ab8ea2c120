"""The losses of a distiller, checked and completed before the first step."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from kd_plugins.algorithms import Comparison, Forward
from kd_plugins.distiller import ConfigurableDistiller
from kd_plugins.errors import Fault, Faults, UserError, drafting
from kd_plugins.plain.calling import call, leaving_no_trace
from kd_plugins.preflight.dry_run import enlarged_records, image_size, run_located, run_watched
from kd_plugins.preflight.edit import apply_edits
from kd_plugins.preflight.findings import Findings
from kd_plugins.preflight.trace import Tracer
from kd_plugins.randomness import own_randomness
from kd_plugins.recorders import ModuleOutputGrads, RecorderSet

# what the argument is called here, and in a config
ARGUMENT, KEY = 'losses', 'distill_losses'


@contextmanager
def naming_the_argument() -> Iterator[None]:
    """Inside, errors at ``model.distill_losses.…`` of a config are reported at ``losses.…`` of the caller."""
    try:
        yield
    except UserError as error:
        # the caller's own line is all that there is to see
        raise UserError(*map(_as_argument, error.faults)) from None


def _as_argument(fault: Fault) -> Fault:
    where = fault.where.removeprefix('model.').replace(KEY, ARGUMENT, 1)
    return replace(fault, where=where, advice=fault.advice.replace(KEY, ARGUMENT))


def build_losses(losses: Any, student: nn.Module, teacher: nn.Module, sample: Any) -> ConfigurableDistiller:
    """Build a distiller from losses in the short form, with its recorders attached.

    Args:
        losses: Loss config by name.
        student: The student, in the mode in which it is trained.
        teacher: The teacher, in eval mode.
        sample: A batch for both, from which connectors are worked out; None for none.

    Raises:
        UserError: With everything that is wrong; no recorder stays attached then.
    """
    config = {KEY: copy.deepcopy(losses)}
    with own_randomness(gpu=True):
        edits = _check(config, student, teacher, sample)
    apply_edits(config, edits)
    distiller = ConfigurableDistiller(**config)
    try:
        distiller.prepare_from_student(student)
        distiller.prepare_from_teacher(teacher)
    except UserError:
        distiller.detach()
        raise
    return distiller


def _check(config: Mapping[str, Any], student: nn.Module, teacher: nn.Module, sample: Any) -> Mapping[str, Any]:
    """Find all faults, and what makes the config explicit: value by key path."""
    findings = Findings()
    with drafting():
        draft = ConfigurableDistiller(**copy.deepcopy(config))
        findings.faults += draft.faults
        findings.faults += draft.prepare_from_student(student) + draft.prepare_from_teacher(teacher)
    of_gradients = _gradient_faults(draft)
    findings.faults += of_gradients
    edits: Mapping[str, Any] = {}
    try:
        if sample is None:
            findings.faults += _left_out_faults(draft)
        elif not of_gradients:
            edits = _try_out(draft, student, teacher, sample, findings)
    finally:
        draft.detach()
    Faults(findings.faults).settle()
    for warning in findings.warnings:
        warnings.warn(str(_as_argument(warning)), stacklevel=5)
    return edits


def _try_out(
    draft: ConfigurableDistiller, student: nn.Module, teacher: nn.Module, sample: Any, findings: Findings
) -> Mapping[str, Any]:
    """Send a batch through both models, and their records through connectors and losses."""
    sides = (('teacher', teacher, draft.teacher_recorders), ('student', student, draft.student_recorders))
    forwards = tuple(
        Forward((side,), side, model, partial(_record, model, recorders)) for side, model, recorders in sides
    )
    comparison = Comparison('', '', draft, forwards)
    ran: set[str] = set()
    for forward in forwards:
        run = partial(run_watched, comparison, forward, sample, None, findings)
        failed = Findings()
        if run_located(forward.model, forward.where, run, failed) is not None:
            ran.update(forward.sides)
        findings.faults += (_sample_fault(fault, forward) for fault in failed.stumbles)
    enlarged = partial(enlarged_records, comparison, sample, None)
    tracer = Tracer(draft, '', findings, image_size(sample), ran, enlarged=enlarged)
    tracer.run()
    return tracer.connection.edits


def _record(model: nn.Module, recorders: RecorderSet, batch: Any, _: Any) -> dict[str, torch.Tensor]:
    with leaving_no_trace(model), recorders:
        call(model, batch)
    for part in recorders.parts():
        part.replace(_as_built)
    return {}


def _sample_fault(fault: Fault, forward: Forward) -> Fault:
    """What a model raised when it was called with the sample."""
    expected = f'a batch with which the {forward.where} can be called'
    advice = 'pass what you call it with: a tensor, a tuple of arguments, or a dict of keyword arguments'
    return Fault('sample', expected, fault.got, advice) if fault.where.startswith(forward.where) else fault


def _as_built(record: torch.Tensor) -> torch.Tensor:
    """A record where, and in the precision in which, connectors are built."""
    record = record.detach().cpu()
    return record.float() if record.is_floating_point() else record


def _gradient_faults(draft: ConfigurableDistiller) -> list[Fault]:
    advice = 'record what a module returns, or train with SingleTeacherDistill'
    return [
        recorders.declared[name].blame(
            Fault('type', 'a recorder of what a forward computes', 'one of the gradient of a task loss', advice)
        )
        for recorders in (draft.student_recorders, draft.teacher_recorders)
        for name, recorder in recorders.recorders.items()
        if isinstance(recorder, ModuleOutputGrads)
    ]


def _left_out_faults(draft: ConfigurableDistiller) -> list[Fault]:
    """Connectors cannot be worked out without a batch."""
    return [
        Fault(
            draft.spec.connectors[name].where,
            'a connector with its channels where there is no sample batch',
            repr(draft.spec.connectors[name].config),
            'pass sample=images, a batch that both models take, or write the connector out',
        )
        for name in draft.left_out
    ]
