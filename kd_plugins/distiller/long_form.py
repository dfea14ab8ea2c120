"""The long form of a distiller's config, MMRazor's: ``loss_forward_mappings`` joins what was declared by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from kd_plugins.distiller.loss_arguments import LossArguments, index_faults
from kd_plugins.distiller.spec import LossSpec, RecordSpec
from kd_plugins.errors import Fault, Faults, closest, join_path

KEYS = tuple(field.name for field in fields(RecordSpec) if field.name not in ('where', 'source', 'bare'))


def read_mapping(
    name: str,
    mapping: Any,
    arguments: LossArguments,
    connectors: Collection[str],
    recorders: Mapping[bool, Collection[str]],
    faults: Faults,
) -> LossSpec:
    """Read one entry of ``loss_forward_mappings``.

    Args:
        name: Of the loss.
        mapping: By argument of the loss, a dict of the fields of :class:`RecordSpec`.
        arguments: Of the loss.
        connectors: Names of the connectors.
        recorders: Names of the student's (True) and of the teacher's (False) recorders.
        faults: Where the faults go, each under its key path from ``loss_forward_mappings`` on.

    Returns:
        The records that have no fault.
    """
    where = f'loss_forward_mappings.{name}'
    before = len(faults)
    if not isinstance(mapping, Mapping):
        faults.append(Fault(where, 'a dict of the arguments of the loss', repr(mapping), 'write one'))
        return LossSpec(name, {}, whole=False)
    faults += arguments.faults(mapping, where, 'add {}=dict(recorder=…, from_student=…)'.format)
    records = {}
    for argument, record in mapping.items():
        place = join_path(where, str(argument))
        found = _record_faults(record, place, connectors, recorders)
        faults += found
        if not found:
            records[argument] = RecordSpec(**record, where=place)
    return LossSpec(name, records, pair_of(records, arguments), whole=len(faults) == before)


def pair_of(records: Mapping[str, RecordSpec], arguments: LossArguments) -> tuple[str, str] | None:
    """The arguments of the student's and of the teacher's tensor, where both are fed."""
    student, teacher = arguments.compared
    if student not in records or teacher not in records or student is None or teacher is None:
        return None
    sides = records[student].from_student, records[teacher].from_student
    return (student, teacher) if sides == (True, False) else (teacher, student) if sides == (False, True) else None


def _record_faults(
    record: Any, where: str, connectors: Collection[str], recorders: Mapping[bool, Collection[str]]
) -> list[Fault]:
    if not isinstance(record, Mapping):
        return [Fault(where, 'a dict with recorder and from_student', repr(record), 'write one')]
    faults = [
        Fault(join_path(where, str(key)), 'a key of a record', repr(key), closest(str(key), KEYS))
        for key in record
        if key not in KEYS
    ]
    faults += [
        Fault(where, f'the key {key}', ', '.join(map(str, record)) or 'an empty dict', f'add {key}=…')
        for key in ('recorder', 'from_student')
        if key not in record
    ]
    faults += index_faults(record, where)
    if faults:
        return faults
    if not isinstance(record['from_student'], bool):
        return [Fault(join_path(where, 'from_student'), 'True or False', repr(record['from_student']), 'correct it')]
    side = 'student' if record['from_student'] else 'teacher'
    for key, value, known, place in (
        ('recorder', record['recorder'], recorders[record['from_student']], f'{side}_recorders'),
        ('connector', record.get('connector'), connectors, 'connectors'),
    ):
        absent = value is not None or key == 'recorder'
        if absent and not (isinstance(value, str) and value in known):
            faults.append(Fault(join_path(where, key), f'a name in {place}', repr(value), closest(str(value), known)))
    return faults
