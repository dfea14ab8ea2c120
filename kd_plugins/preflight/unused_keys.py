"""Keys of a config that are allowed and do nothing."""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mmengine.dist import get_world_size
from mmengine.registry import DATASETS
from torch import nn

from kd_plugins.algorithms import DistillAlgorithm
from kd_plugins.compat.page import RUN_KEYS
from kd_plugins.errors import Fault, closest, join_path

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
# constructors that look for a custom key anywhere in the name of a parameter
SUBSTRING = ('DefaultOptimWrapperConstructor', 'LearningRateDecayOptimWrapperConstructor')


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
        *_idle_schedules(config),
        *_unmatched_keys(config, model),
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
        if near
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
    differing = [key for key in inner if key != 'type' and inner[key] != outer.get(key)]
    if not differing:
        return []
    winner = 'model.data_preprocessor' if at_model is not None else 'data_preprocessor'
    where = 'model.architecture.data_preprocessor'
    expected = f'the same as {winner}, which both models get instead'
    got = ', '.join(f'{key}={inner[key]!r} beside {outer.get(key)!r}' for key in differing)
    return [Fault(where, expected, got[:300], f'remove one of the two: {where} is not used')]


def _idle_schedules(config: Any) -> list[Fault]:
    """Schedules that count what the loop does not, and so make no step before the end of the training."""
    loop = config.get('train_cfg')
    if not isinstance(loop, Mapping):
        return []
    faults = []
    for where, schedule in _schedules(config.get('param_scheduler'), 'param_scheduler'):
        by_epoch = schedule.get('by_epoch', True)
        if schedule.get('convert_to_iter_based') or bool(by_epoch) is not _counts_iterations(loop):
            continue
        if by_epoch:
            expected = 'by_epoch=False in a loop that counts iterations, which is one epoch as a whole'
            got = 'by_epoch=True' if 'by_epoch' in schedule else 'none, which is by_epoch=True'
            advice = 'write by_epoch=False, and begin, end and milestones in iterations'
            faults.append(Fault(join_path(where, 'by_epoch'), expected, f'{got}: no step before the end', advice))
            continue
        key, first = _first_change(schedule)
        end = _iterations(config, loop) if first else None
        if end is not None and first >= end:
            expected = f'one below {end}, the number of iterations of the training'
            got = f'{schedule[key]!r}: no step before the end'
            advice = 'write it in iterations, or by_epoch=True where it is in epochs'
            faults.append(Fault(join_path(where, key), expected, got, advice))
    return faults


def _schedules(node: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every schedule of a config: one, a list of them, or either by name of an optimiser."""
    if isinstance(node, (list, tuple)):
        for index, child in enumerate(node):
            yield from _schedules(child, f'{where}.{index}')
    elif isinstance(node, Mapping) and 'type' in node:
        yield where, node
    elif isinstance(node, Mapping):
        for name, child in node.items():
            yield from _schedules(child, f'{where}.{name}')


def _counts_iterations(loop: Mapping[str, Any]) -> bool:
    if 'type' in loop:
        return loop.get('max_iters') is not None and loop.get('max_epochs') is None
    return loop.get('by_epoch') is False


def _first_change(schedule: Mapping[str, Any]) -> tuple[str, Any]:
    """The key that says when a schedule first changes something, and when; 0 where that is at once or unknown."""
    milestones, begin = schedule.get('milestones'), schedule.get('begin')
    if isinstance(milestones, (list, tuple)) and milestones and all(map(_is_number, milestones)):
        return 'milestones', min(milestones)
    return 'begin', begin if _is_number(begin) else 0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _iterations(config: Any, loop: Mapping[str, Any]) -> int | None:
    """How many iterations a training of some epochs has; None where the data do not tell."""
    loader = config.get('train_dataloader') or {}
    try:
        samples = len(DATASETS.build(copy.deepcopy(loader['dataset'])))
        return int(loop['max_epochs'] * math.ceil(samples / (loader['batch_size'] * get_world_size())))
    except Exception:
        # data that are not here, or cannot be read, are told elsewhere
        return None


def _unmatched_keys(config: Any, model: nn.Module) -> list[Fault]:
    """Keys of ``custom_keys`` that decide about no parameter that is trained."""
    wrapper = config.get('optim_wrapper')
    if not isinstance(wrapper, Mapping):
        return []
    constructor = str(wrapper.get('constructor') or SUBSTRING[0]).rpartition('.')[2]
    if constructor in SUBSTRING:
        return _unmatched(wrapper, 'optim_wrapper', model)
    if constructor == 'SeparateOptimWrapperConstructor':
        children = dict(model.named_children())
        parts = ((name, part) for name, part in wrapper.items() if name in children)
        return [fault for name, part in parts for fault in _unmatched(part, f'optim_wrapper.{name}', children[name])]
    return []


def _unmatched(wrapper: Any, where: str, model: nn.Module) -> list[Fault]:
    options = wrapper.get('paramwise_cfg') if isinstance(wrapper, Mapping) else None
    custom = options.get('custom_keys') if isinstance(options, Mapping) else None
    if not isinstance(custom, Mapping) or not all(isinstance(key, str) for key in custom):
        return []
    names = [name if '.' in name else f'.{name}' for name, weight in model.named_parameters() if weight.requires_grad]
    # mmengine takes the longest key that a name contains
    longest_first = sorted(sorted(custom), key=len, reverse=True)
    deciding = {next((key for key in longest_first if key in name), None) for name in names}
    segments = {segment for name in names for segment in name.split('.')}
    return [
        _unmatched_key(key, join_path(where, 'paramwise_cfg.custom_keys', key), model, names)
        for key, setting in custom.items()
        if key not in deciding and not (_spares_decay(setting) and not _is_misspelt(key, segments))
    ]


def _spares_decay(setting: Any) -> bool:
    """Whether a key only switches weight decay off, which recipes do for parameters of many kinds of models."""
    return isinstance(setting, Mapping) and setting.get('decay_mult') == 0 and 'lr_mult' not in setting


def _is_misspelt(key: str, segments: set[str]) -> bool:
    name = key.strip('.')
    return name not in segments and bool(difflib.get_close_matches(name, segments, 1, 0.81))


def _unmatched_key(key: str, where: str, model: nn.Module, names: list[str]) -> Fault:
    expected = 'a part of the name of a parameter that is trained'
    if any(key in name for name in names):
        return Fault(where, expected, f'{key!r}, whose parameters longer keys decide about', 'remove it')
    if any(key in name for name, _ in model.named_parameters()):
        return Fault(where, expected, f'{key!r}, whose parameters are frozen', 'remove it, or train them')
    parts = {'.'.join(name.split('.')[:depth]).lstrip('.') for name in names for depth in range(1, name.count('.') + 2)}
    return Fault(where, expected, f'{key!r}, which is in none', closest(key, parts))
