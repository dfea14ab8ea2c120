"""Follows every record through its connector into its loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from kd_plugins.build import Declared
from kd_plugins.connectors import OUT_NAMES, channels_of
from kd_plugins.distiller import AUTO, ConfigurableDistiller, LossSpec, RecordSpec, parts_of
from kd_plugins.errors import Fault, UserError, describe_error, join_path
from kd_plugins.preflight.connection import Connection, describe_connector
from kd_plugins.preflight.findings import Findings, LossTrace, SourceTrace
from kd_plugins.preflight.shapes import Shape, describe_shape, shape_of


class Tracer:
    """Runs a distiller step by step, after both models have run.

    Args:
        distiller: Built while drafting: without what is faulty, and without connectors that are left out.
        where: Key path of its config.
        findings: Grows by what is found.
        image: Height and width of the images, in pixels; None where the inputs are no images.
        ran: The sides that ran to the end; what the other ones recorded says nothing.
        counting: Entered around what a step computes of the records, and not around what is worked out once.
        enlarged: As for :class:`Connection`.

    Attributes:
        connection: What the records pass on their way; has the edits that make the config explicit.
    """

    def __init__(
        self,
        distiller: ConfigurableDistiller,
        where: str,
        findings: Findings,
        image: tuple[int, int] | None,
        ran: Collection[str] = ('student', 'teacher'),
        counting: Callable[[], AbstractContextManager[None]] = nullcontext,
        enlarged: Callable[[], Any] = lambda: None,
    ) -> None:
        self.distiller = distiller
        self.where = where
        self.spec = distiller.spec
        self.findings = findings
        self.ran = ran
        self.counting = counting
        self.records = self._pop()
        self.connection = Connection(distiller, where, findings, image, enlarged)

    def _pop(self) -> dict[bool, dict[str, list[Any]]]:
        try:
            return self.distiller.pop_records()
        except UserError as error:
            self._refuse(error)
            return {True: {}, False: {}}

    def run(self) -> dict[str, Any]:
        """Compute every loss that can be computed; returns them by name."""
        values = {}
        for mapping in self.spec.mappings:
            value = self._compute(mapping)
            if value is not None:
                values[mapping.name] = value
        return values

    def _compute(self, mapping: LossSpec) -> Any:
        picked = {argument: self._pick(record) for argument, record in mapping.arguments.items()}
        before = len(self.findings.faults)
        self.connection.complete(mapping, picked)
        with self.counting():
            connected = {
                argument: self.connection.connect(record, picked[argument])
                for argument, record in mapping.arguments.items()
            }
            # without the connectors that it needs, nothing more can be said of a loss
            value = self._lose(mapping, connected) if len(self.findings.faults) == before else None
        self.findings.losses.append(self._describe(mapping, picked, connected, value))
        return value

    def _pick(self, record: RecordSpec) -> Any:
        calls = self._calls(record)
        if calls is None:
            return None
        if not calls:
            self._refuse_idle(record)
            return None
        try:
            return record.pick(calls)
        except UserError as error:
            self._refuse(error, record.where)
            return None

    def _refuse_idle(self, record: RecordSpec) -> None:
        """A source that never ran is wrong itself, whoever uses its record."""
        declared = self._recorders(record)[record.recorder]
        source = declared.config.get('source')
        advice = 'choose a source that the forward runs: containers and unused modules never do'
        fault = Fault('source', 'a source that runs in the forward', f'{source!r}, which ran not once', advice)
        self._refuse(UserError(declared.blame(fault)))

    def _recorders(self, record: RecordSpec) -> Mapping[str, Declared]:
        return self.spec.student_recorders if record.from_student else self.spec.teacher_recorders

    def _calls(self, record: RecordSpec) -> list[Any] | None:
        return self.records[record.from_student].get(record.recorder) if record.side in self.ran else None

    def _lose(self, mapping: LossSpec, connected: Mapping[str, Any]) -> Any:
        loss = self._loss(mapping)
        if loss is None or not mapping.whole or any(value is None for value in connected.values()):
            return None
        where = self.spec.losses[mapping.name].where
        try:
            value = loss(**connected)
        except UserError as error:
            self._refuse(self._with_connectors(mapping.blame(error, where), mapping, connected))
            return None
        except Exception as error:
            shapes = ', '.join(f'{name} {describe_shape(shape_of(data))}' for name, data in connected.items())
            got = f'{describe_error(error)} for {shapes}'
            expected, advice = f'what {type(loss).__name__} takes', 'look at the sources and the arguments of the loss'
            self._refuse(self._with_connectors(UserError(Fault(where, expected, got, advice)), mapping, connected))
            return None
        if not isinstance(value, torch.Tensor):
            fault = Fault('', 'a loss that returns a tensor', f'a {type(value).__name__}', 'return the loss alone')
            self._refuse(UserError(fault), where)
            return None
        return value

    def _loss(self, mapping: LossSpec) -> Any:
        """The loss, or None where it could not be built."""
        return dict(self.distiller.distill_losses.items()).get(mapping.name)

    def _with_connectors(self, error: UserError, mapping: LossSpec, connected: Mapping[str, Any]) -> UserError:
        """Advise how to make the two tensors meet, where they do not."""
        if mapping.pair is None:
            return error
        student, teacher = (connected[name] for name in mapping.pair)
        if not (isinstance(student, torch.Tensor) and isinstance(teacher, torch.Tensor)):
            return error
        if student.shape == teacher.shape:
            return error
        advice = self._how_to_meet(mapping, student, teacher)
        return UserError(*(Fault(fault.where, fault.expected, fault.got, advice) for fault in error.faults))

    def _how_to_meet(self, mapping: LossSpec, data: torch.Tensor, target: torch.Tensor) -> str:
        argument, other = mapping.pair or ('', '')
        record = mapping.arguments[argument]
        student, teacher = tuple(data.shape), tuple(target.shape)
        if len(student) == len(teacher) == 2 and argument.startswith('preds'):
            return 'the numbers of classes differ: give both heads the same num_classes'
        declared = self.spec.connectors.get(record.connector or '')
        if declared is not None:
            last, where = parts_of(declared.config, declared.where)[-1]
            keys = [key for key in OUT_NAMES if key in last] if isinstance(last, Mapping) else []
            if keys and len(student) == len(teacher) and channels_of(student) != channels_of(teacher):
                return f'set {keys[0]} of {where} to {channels_of(teacher)}, or leave it out'
            advice = "write 'auto' there" if declared.config != AUTO else 'write it out'
            return f'the connector at {declared.where} gives another shape: {advice}'
        try:
            own, theirs = self.connection.choose(record, data, mapping.arguments[other], target)
        except UserError as refusal:
            return refusal.faults[0].advice
        chosen = ', '.join(map(describe_connector, [*own, *theirs]))
        if record.where.startswith('loss_forward_mappings'):
            name = f'{mapping.name}_{argument}'
            how = f"declare connectors=dict({name}='auto') and give {argument} connector={name!r}"
        else:
            how = "add connector='auto' to the loss"
        how = f'{how}, which makes them meet with {chosen}'
        if argument.startswith('preds') and len(student) == len(teacher) == 4 and student[1] != teacher[1]:
            return f'if these are class maps, give both heads the same num_classes; if they are features, {how}'
        return how

    def _describe(
        self, mapping: LossSpec, picked: Mapping[str, Any], connected: Mapping[str, Any], value: Any
    ) -> LossTrace:
        loss = self._loss(mapping)
        weight = getattr(loss, 'loss_weight', None)
        weight = float(weight) if isinstance(weight, (int, float)) else None
        effective = None
        if value is not None and mapping.pair and hasattr(loss, 'effective_weight'):
            effective = float(loss.effective_weight(connected[mapping.pair[0]]))
        if weight is not None and effective is not None and effective != weight:
            where = f'{self.where}.{self.spec.losses[mapping.name].where}.reduction'
            self.findings.warnings.append(
                Fault(
                    where,
                    f'a loss_weight that acts as the {weight:g} that it says',
                    f'{weight:g} that acts as {effective:g}, for the mean is over the classes too',
                    "reduction='batchmean' is the usual one; raise loss_weight where the mean is meant",
                )
            )
        sources = tuple(
            self._source(argument, record, picked[argument], connected[argument])
            for argument, record in mapping.arguments.items()
        )
        kind = type(loss).__name__ if loss is not None else '?'
        number = float(value.detach().float().mean()) if value is not None else None
        if number is not None and not math.isfinite(number):
            where = f'{self.where}.{self.spec.losses[mapping.name].where}'
            advice = 'look at its weight and at the records'
            self.findings.warnings.append(Fault(where, 'a finite loss', str(number), advice))
        return LossTrace(mapping.name, kind, weight, effective, sources, number)

    def _source(self, argument: str, record: RecordSpec, data: Any, connected: Any) -> SourceTrace:
        config = self._recorders(record)[record.recorder].config
        calls = self._calls(record)
        return SourceTrace(
            argument=argument,
            side=record.side,
            source=describe_source(config, record),
            calls=len(calls) if calls is not None else None,
            shape=_shape(data),
            connector=', '.join(map(describe_connector, self.connection.configs(record))),
            connected=_shape(connected),
        )

    def _refuse(self, error: UserError, where: str = '') -> None:
        self.findings.faults += error.within(join_path(self.where, where)).faults


def describe_source(config: Any, record: RecordSpec) -> str:
    """What a recorder's config records, as ``backbone.layer4.1.relu call 1`` or ``head (ModuleInputs) element 0``."""
    config = config if isinstance(config, Mapping) else {}
    source, kind = str(config.get('source', '?')), str(config.get('type', '')).rpartition('.')[2]
    text = source if kind.startswith('ModuleOutputs') else f'{source} ({kind})'
    text += '' if record.record_idx is None else f' call {record.record_idx}'
    return text + ('' if record.data_idx is None else f' element {record.data_idx}')


def _shape(data: Any) -> Shape | None:
    return None if data is None else shape_of(data)
