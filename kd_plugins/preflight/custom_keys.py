"""Keys of an optimiser's ``paramwise_cfg`` that match no parameter."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from torch import nn

from kd_plugins.algorithms import DistillAlgorithm
from kd_plugins.build import bare_name
from kd_plugins.errors import Fault, closest, join_path

# constructors that look for a custom key anywhere in the name of a parameter
SUBSTRING = ('DefaultOptimWrapperConstructor', 'LearningRateDecayOptimWrapperConstructor')


def unmatched_keys(config: Any, model: nn.Module) -> list[Fault]:
    """Look for keys of ``custom_keys`` that decide about no parameter that is trained.

    Args:
        config: The whole config.
        model: What was built from it.

    Returns:
        A warning per key, with the closest part of a name.
    """
    wrapper = config.get('optim_wrapper')
    if not isinstance(wrapper, Mapping):
        return []
    constructor = bare_name(wrapper.get('constructor') or SUBSTRING[0])
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
    teachers = model.teacher_models() if isinstance(model, DistillAlgorithm) else {}
    frozen = [name for name, _ in model.named_parameters()]
    frozen += [f'{path}.{name}' for path, teacher in teachers.items() for name, _ in teacher.named_parameters()]
    if any(key in name for name in frozen):
        return Fault(where, expected, f'{key!r}, whose parameters are frozen', 'remove it, or train them')
    parts = {'.'.join(name.split('.')[:depth]).lstrip('.') for name in names for depth in range(1, name.count('.') + 2)}
    return Fault(where, expected, f'{key!r}, which is in none', closest(key, parts))
