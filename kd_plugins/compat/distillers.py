"""The parts of a distiller's config that MMRazor takes more lightly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kd_plugins.compat.notes import Notes
from kd_plugins.compat.values import name_at, part_at
from kd_plugins.registry import SCOPE

FIRST = 'record_idx=0 written where none was, for MMRazor takes the first of several calls'
UNMAPPED = 'left out, for loss_forward_mappings does not feed them'
UNUSED = 'left out, for no loss uses them'
SUMMED = "reduction='sum' written for DKDLoss, whose 'mean' and 'none' are sums in MMRazor"
UNWEIGHTED = 'loss_weight=1 written for CRDLoss, whose weight MMRazor ignores'
FLATTENED = 'pooled (N, C, 1, 1) flattened to (N, C) before it meets (N, C); MMRazor would compare each image with all'
FLATTEN = 'flatten'


def translate_distiller(distiller: Any, where: str, notes: Notes) -> None:
    """Write down what MMRazor assumes, and leave out what it ignores.

    Args:
        distiller: The config of a distiller in the long form, which is changed.
        where: Its key path.
        notes: Gets what changed.
    """
    mappings = part_at(distiller, 'loss_forward_mappings')
    if not mappings:
        return
    _leave_out(distiller, 'distill_losses', set(mappings), where, UNMAPPED, notes)
    records = list(_records(mappings))
    for record in records:
        if record.get('record_idx') is None:
            record['record_idx'] = 0
            notes.add(FIRST, where)
    _keep_numbers(part_at(distiller, 'distill_losses'), f'{where}.distill_losses', notes)
    for name, mapping in mappings.items():
        _flatten_pooled(distiller, mapping, f'{where}.loss_forward_mappings.{name}', notes)
    used = {
        'student_recorders': {name_at(record, 'recorder') for record in records if record.get('from_student')},
        'teacher_recorders': {name_at(record, 'recorder') for record in records if not record.get('from_student')},
        'connectors': {name_at(record, 'connector') for record in records},
    }
    for key, names in used.items():
        _leave_out(distiller, key, names, where, UNUSED, notes)


def _keep_numbers(losses: Mapping[str, Any], where: str, notes: Notes) -> None:
    """Write down what MMRazor computes, where it is not what its config says."""
    for name, loss in losses.items():
        if name_at(loss, 'type') == f'{SCOPE}.DKDLoss' and name_at(loss, 'reduction') in ('mean', 'none'):
            loss['reduction'] = 'sum'
            notes.add(SUMMED, f'{where}.{name}')
        if name_at(loss, 'type') == f'{SCOPE}.CRDLoss' and loss.get('loss_weight', 1) != 1:
            loss['loss_weight'] = 1.0
            notes.add(UNWEIGHTED, f'{where}.{name}')


def _flatten_pooled(distiller: Any, mapping: Any, where: str, notes: Notes) -> None:
    """Let a record of global pooling, ``neck.gap``, meet the feature vector that a ``BYOTConnector`` returns."""
    if not isinstance(mapping, Mapping) or not {'s_feature', 't_feature'} <= set(mapping):
        return
    student, teacher = mapping['s_feature'], mapping['t_feature']
    if not isinstance(student, Mapping) or not isinstance(teacher, dict) or teacher.get('connector') is not None:
        return
    kind = name_at(part_at(distiller, 'connectors', name_at(student, 'connector')), 'type')
    recorders = 'student_recorders' if teacher.get('from_student') else 'teacher_recorders'
    source = name_at(part_at(distiller, recorders, name_at(teacher, 'recorder')), 'source') or ''
    if kind == f'{SCOPE}.BYOTConnector' and source.rpartition('.')[2] == 'gap':
        distiller['connectors'][FLATTEN] = dict(type=f'{SCOPE}.TorchNNConnector', module_name='Flatten')
        teacher['connector'] = FLATTEN
        notes.add(FLATTENED, f'{where}.t_feature')


def _records(mappings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for mapping in mappings.values():
        for record in mapping.values() if isinstance(mapping, Mapping) else ():
            if isinstance(record, dict) and 'recorder' in record:
                yield record


def _leave_out(distiller: Any, key: str, used: set[Any], where: str, why: str, notes: Notes) -> None:
    declared = distiller.get(key)
    if not isinstance(declared, dict):
        return
    for name in [name for name in declared if name not in used]:
        del declared[name]
        notes.add(why, f'{where}.{key}.{name}')
    if not declared:
        del distiller[key]
