"""Keys of a config that are allowed and do nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from kd_plugins.algorithms import DistillAlgorithm
from kd_plugins.compat.page import RUN_KEYS
from kd_plugins.errors import Fault
from kd_plugins.preflight.custom_keys import unmatched_keys
from kd_plugins.preflight.idle_schedules import idle_schedules

# what the Runner and our tools take
TOP_LEVEL = {*RUN_KEYS, 'bad_files'}
# how alike a name and one of those have to be, as difflib counts, for the name to be a misspelling
ALIKE = 0.88
# parts of a distillation by the names that people give them, and where they belong
PARTS = {
    'student_cfg': 'model.architecture',
    'teacher': 'model.teacher',
    'teacher_cfg': 'model.teacher',
    'teacher_ckpt': 'model.teacher_ckpt',
    'distiller': 'model.distiller',
    'student_recorders': 'model.distiller.student_recorders',
    'teacher_recorders': 'model.distiller.teacher_recorders',
    'distill_losses': 'model.distiller.distill_losses',
    'connectors': 'model.distiller.connectors',
    'loss_forward_mappings': 'model.distiller.loss_forward_mappings',
}
# of a preprocessor, what changes no pixel
NO_PIXELS = ('type', 'num_classes')


def unused_key_warnings(config: Any, model: nn.Module) -> list[Fault]:
    """Look for keys that a run would not use, though whoever wrote them expects it to.

    Args:
        config: The whole config.
        model: What was built from it.

    Returns:
        A warning per key, with the closest one that is used.
    """
    return [
        *misspelt_keys(config),
        *_parts_outside(config, model),
        *_replaced_preprocessor(config),
        *idle_schedules(config),
        *unmatched_keys(config, model),
    ]


def misspelt_keys(names: Iterable[Any]) -> list[Fault]:
    """Top-level names that nothing reads and that are almost those of a key; other names are the user's own variables.

    Args:
        names: Of a config's top level, or the config.
    """
    return [
        Fault(name, 'a key that the Runner or the tools read', f'{name!r}, which none of them does', advice)
        for name in map(str, names)
        if name not in TOP_LEVEL and not name[-1:].isdigit()
        for near in [difflib.get_close_matches(name, TOP_LEVEL, 1, ALIKE)]
        # a name that says more, such as train_dataloader_cfg, is a variable
        if near and not name.startswith(f'{near[0]}_')
        for advice in [f'did you mean {near[0]!r}?']
    ]


def _parts_outside(config: Any, model: nn.Module) -> list[Fault]:
    """Parts of a distillation beside a model that trains alone, and is no algorithm of another library either."""
    if isinstance(model, DistillAlgorithm) or {'architecture', *PARTS} & set(config.model):
        return []
    wanted = "write model=dict(type='SingleTeacherDistill', architecture=…, teacher=…, distiller=…)"
    return [
        Fault(key, 'a distillation that uses it', f'a plain {type(model).__name__}, which trains alone', advice)
        for key, place in PARTS.items()
        if isinstance(config.get(key), (str, Mapping) if key == 'teacher_ckpt' else Mapping)
        for advice in [f'move it to {place}: {wanted}']
    ]


def _replaced_preprocessor(config: Any) -> list[Fault]:
    """Preprocessing of the student that gives way to that of the algorithm, or to the top level's."""
    architecture = config.model.get('architecture')
    inner = architecture.get('data_preprocessor') if isinstance(architecture, Mapping) else None
    at_model = config.model.get('data_preprocessor')
    outer = at_model if at_model is not None else config.get('data_preprocessor')
    if not isinstance(inner, Mapping) or not isinstance(outer, Mapping):
        return []
    differing = [key for key in inner if key not in NO_PIXELS and not _is_same(inner[key], outer.get(key))]
    if not differing:
        return []
    winner = 'model.data_preprocessor' if at_model is not None else 'data_preprocessor'
    where = 'model.architecture.data_preprocessor'
    expected = f'the same as {winner}, which both models get instead'
    got = ', '.join(f'{key}={inner[key]!r} beside {outer.get(key)!r}' for key in differing)
    return [Fault(where, expected, got[:300], f'remove one of the two: {where} is not used')]


def _is_same(value: Any, other: Any) -> bool:
    """Whether two values mean the same: a list and a tuple of it do, and so do False and what is not there."""
    if isinstance(value, (list, tuple)) and isinstance(other, (list, tuple)):
        return list(value) == list(other)
    return value == other or not (value or other)
