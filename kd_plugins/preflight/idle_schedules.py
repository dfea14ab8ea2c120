"""Schedules by epoch in a loop of iterations, and the other way round."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.dist import get_world_size
from mmengine.registry import DATASETS

from kd_plugins.build import bare_name
from kd_plugins.errors import Fault, join_path
from kd_plugins.preflight.monitors import PLATEAU


def idle_schedules(config: Any) -> list[Fault]:
    """Look for schedules that count what the loop does not, and so make no step before the end of the training.

    Args:
        config: The whole config; where a loop of epochs has a schedule by iteration, its training data are built to
            count them.

    Returns:
        A warning per schedule.
    """
    loop = config.get('train_cfg')
    if not isinstance(loop, Mapping):
        return []
    faults = []
    for where, schedule in _schedules(config.get('param_scheduler'), 'param_scheduler'):
        if bare_name(schedule['type']).startswith(PLATEAU):
            continue  # validations count for it, in a loop of iterations too; mmengine takes no by_epoch=False
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
