"""What feeds which loss: the ``loss_forward_mappings`` of a config, checked and frozen."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import nn

from kd_plugins.errors import Fault, UserError, closest, join_path


@dataclass(frozen=True)
class RecordSpec:
    """Where one argument of a loss comes from.

    Attributes:
        recorder: Name of the recorder.
        from_student: Whether that is one of the student's recorders.
        record_idx: Which call of the source, from 0.
        data_idx: Which element, where a record is a tuple or a list; None for the whole.
        connector: Name of the connector that the record passes; None for none.
        connector_idx: Which element of what the connector returns; None for the whole.
    """

    recorder: str
    from_student: bool
    record_idx: int = 0
    data_idx: int | None = None
    connector: str | None = None
    connector_idx: int | None = None

    def pick(self, records: list[Any]) -> Any:
        """Choose this record among those of its recorder, one per call of the source.

        Raises:
            UserError: There were too few calls, or the record has no element ``data_idx``.
        """
        if not -len(records) <= self.record_idx < len(records):
            raise UserError(
                Fault(
                    'record_idx',
                    f'a call of {self.recorder!r} that happened',
                    f'record_idx={self.record_idx}, but its source ran {_times(len(records))} in this forward',
                    f'use a record_idx from 0 to {len(records) - 1}'
                    if records
                    else 'choose a source that the forward runs: containers and unused modules never do',
                )
            )
        record = records[self.record_idx]
        if self.data_idx is None:
            return record
        if not isinstance(record, (tuple, list)) or not -len(record) <= self.data_idx < len(record):
            size = f'with {len(record)} elements' if isinstance(record, (tuple, list)) else 'without elements to choose'
            raise UserError(
                Fault(
                    'data_idx',
                    f'an element of the record of {self.recorder!r}',
                    f'data_idx={self.data_idx} of a {type(record).__name__} {size}',
                    'correct data_idx, or leave it out for the whole record',
                )
            )
        return record[self.data_idx]


@dataclass(frozen=True)
class LossSpec:
    """One distill loss and the records of its arguments.

    Attributes:
        name: Key in ``distill_losses``; the name in the log.
        arguments: Record by argument of the loss's ``forward``.
    """

    name: str
    arguments: Mapping[str, RecordSpec]


def parse_mappings(
    mappings: Mapping[str, Any],
    losses: nn.ModuleDict,
    connectors: Collection[str],
    student_recorders: Collection[str],
    teacher_recorders: Collection[str],
) -> tuple[LossSpec, ...]:
    """Check ``loss_forward_mappings`` against everything it names, and freeze it.

    Args:
        mappings: By loss, by argument of the loss: a dict of the fields of :class:`RecordSpec`.
        losses: The distill losses by name.
        connectors: Names of the connectors.
        student_recorders: Names of the student's recorders.
        teacher_recorders: Names of the teacher's recorders.

    Returns:
        A spec per loss, in the order of ``mappings``.

    Raises:
        UserError: With every fault found, each under its key path from ``loss_forward_mappings`` on.
    """
    faults: list[Fault] = []
    specs = []
    for loss, arguments in mappings.items():
        where = f'loss_forward_mappings.{loss}'
        if loss not in losses:
            faults.append(
                Fault(where, 'the name of a loss in distill_losses', repr(loss), closest(loss, losses.keys()))
            )
            continue
        if not isinstance(arguments, Mapping):
            faults.append(Fault(where, 'a dict of the arguments of the loss', repr(arguments), 'write one'))
            continue
        faults.extend(_argument_faults(losses[loss], arguments, where))
        records = {}
        for argument, record in arguments.items():
            found = _record_faults(record, join_path(where, argument), connectors, student_recorders, teacher_recorders)
            faults.extend(found)
            if not found:
                records[argument] = RecordSpec(**record)
        specs.append(LossSpec(loss, records))
    if faults:
        raise UserError(*faults)
    return tuple(specs)


def unused_faults(specs: Collection[LossSpec], losses: Collection[str], connectors: Collection[str]) -> list[Fault]:
    """What was declared and would have no effect, or, a connector, one that DistributedDataParallel cannot bear.

    Args:
        specs: Of :func:`parse_mappings`.
        losses: Names of the distill losses.
        connectors: Names of the connectors.
    """
    faults = []
    if not losses:
        faults.append(Fault('distill_losses', 'at least one loss', 'none', 'without one, nothing is distilled'))
    fed = {spec.name for spec in specs}
    for name in losses:
        where = f'distill_losses.{name}'
        if name not in fed:
            advice = f'add loss_forward_mappings.{name}, or remove the loss'
            faults.append(Fault(where, 'a loss that loss_forward_mappings feeds', 'no mapping for it', advice))
        if 'loss' not in name:
            advice = f'mmengine sums only such entries: call it loss_{name}'
            faults.append(Fault(where, "a name that contains 'loss'", repr(name), advice))
    used = {record.connector for spec in specs for record in spec.arguments.values()}
    faults += [
        Fault(f'connectors.{name}', 'a connector that a mapping names', 'none that does', 'remove or use it')
        for name in connectors
        if name not in used
    ]
    return faults


def _argument_faults(loss: nn.Module, arguments: Mapping[str, Any], where: str) -> list[Fault]:
    parameters = inspect.signature(loss.forward).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    named = {
        key: parameter
        for key, parameter in parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    name = type(loss).__name__
    unknown = [
        Fault(join_path(where, key), f'an argument of {name}.forward', repr(key), closest(key, named))
        for key in arguments
        if key not in named and not open_ended
    ]
    missing = [
        Fault(where, f'a record for {key} of {name}', 'none', f'add {key}=dict(recorder=…, from_student=…)')
        for key, parameter in named.items()
        if key not in arguments and parameter.default is parameter.empty
    ]
    return unknown + missing


def _record_faults(
    record: Any,
    where: str,
    connectors: Collection[str],
    student_recorders: Collection[str],
    teacher_recorders: Collection[str],
) -> list[Fault]:
    if not isinstance(record, Mapping):
        return [Fault(where, 'a dict with recorder and from_student', repr(record), 'write one')]
    known = [field.name for field in fields(RecordSpec)]
    faults = [
        Fault(join_path(where, key), 'a key of a record', repr(key), closest(key, known))
        for key in record
        if key not in known
    ]
    faults += [
        Fault(where, f'the key {key}', ', '.join(record) or 'an empty dict', f'add {key}=…')
        for key in ('recorder', 'from_student')
        if key not in record
    ]
    for key in ('record_idx', 'data_idx', 'connector_idx'):
        value = record.get(key, 0)
        may_be_none = value is None and key != 'record_idx'
        if not (isinstance(value, int) or may_be_none) or isinstance(value, bool):
            faults.append(Fault(join_path(where, key), 'a whole number', repr(value), 'correct it'))
    if faults:
        return faults
    if not isinstance(record['from_student'], bool):
        return [Fault(join_path(where, 'from_student'), 'True or False', repr(record['from_student']), 'correct it')]
    side = 'student' if record['from_student'] else 'teacher'
    recorders = student_recorders if record['from_student'] else teacher_recorders
    if record['recorder'] not in recorders:
        advice = closest(str(record['recorder']), recorders)
        faults.append(
            Fault(join_path(where, 'recorder'), f'a name in {side}_recorders', repr(record['recorder']), advice)
        )
    connector = record.get('connector')
    if connector is not None and connector not in connectors:
        advice = closest(str(connector), connectors)
        faults.append(Fault(join_path(where, 'connector'), 'a name in connectors', repr(connector), advice))
    return faults


def _times(count: int) -> str:
    return {0: 'not once', 1: 'once', 2: 'twice'}.get(count, f'{count} times')
