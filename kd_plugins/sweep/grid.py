"""What a sweep varies: keys of a config and their values."""

from __future__ import annotations

import hashlib
import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from kd_plugins.engine.config import qualify_types
from kd_plugins.errors import Fault, UserError, closest, join_path

# what a run reads of a config; other names in a file are its own variables, and changing them changes nothing
READ = {*inspect.signature(Runner.__init__).parameters, 'compile', 'find_unused_parameters', 'model_wrapper_cfg'}
# what the command line of each run says
OWN = ('randomness.seed', 'work_dir', 'launcher', 'resume')
LONGEST_NAME = 100
Options = dict[str, Any]


def combinations(config: Config, grid: Mapping[str, Any]) -> list[Options]:
    """Every combination of the values of a grid, the last key changing fastest.

    Args:
        config: The config that the grid is of.
        grid: Values by key: a dotted key of the config, or its end (``tau`` for
            ``model.distiller.distill_losses.loss_kl.tau``), where all keys that end so have the same value.

    Returns:
        For each combination the values by key as the grid names it; one empty combination for an empty grid.

    Raises:
        UserError: The config has no such key, or several that do not belong together, or a key has no values.
    """
    for key, values in grid.items():
        places(config, key)
        if isinstance(values, list) and not values:
            raise UserError(Fault(f'--grid {key}', 'values, with commas between', 'none', f'write {key}=1,2'))
        if isinstance(values, list) and any(value in values[:index] for index, value in enumerate(values)):
            raise UserError(Fault(f'--grid {key}', 'each value once', repr(values), 'leave out what is twice there'))
    lists = [values if isinstance(values, list) else [values] for values in grid.values()]
    return [dict(zip(grid, chosen, strict=True)) for chosen in itertools.product(*lists)]


def places(config: Config, key: str) -> list[str]:
    """The dotted keys of a config that a key of a grid stands for.

    Args:
        config: The config.
        key: As for :func:`combinations`.

    Raises:
        UserError: As for :func:`combinations`.
    """
    leaves = leaves_of(config)
    if key in leaves:
        return _not_own(key, [key])
    found = {path: value for path, value in leaves.items() if path.endswith(f'.{key}')}
    if not found:
        raise UserError(Fault(f'--grid {key}', 'a key of the config', repr(key), closest(key, _names(leaves, key))))
    if any(value != next(iter(found.values())) for value in found.values()):
        listed = ', '.join(f'{path} ({value!r})' for path, value in list(found.items())[:6])
        expected = 'one key, or several that have the same value'
        raise UserError(Fault(f'--grid {key}', expected, listed, 'write more of the key'))
    return _not_own(key, list(found))


def _not_own(key: str, found: list[str]) -> list[str]:
    if set(found) & set(OWN):
        expected, got = 'what a sweep does not set itself', ', '.join(found)
        raise UserError(Fault(f'--grid {key}', expected, got, '--seeds N trains with the seeds 0 to N-1'))
    return found


def leaves_of(config: Config) -> dict[str, Any]:
    """What a run reads of a config, by dotted key."""
    return dict(_leaves({name: value for name, value in config.items() if name in READ}))


def with_options(config: Config, options: Options) -> Config:
    """A copy of a config in which the keys of a combination have its values."""
    return with_values(config, {path: value for key, value in options.items() for path in places(config, key)})


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """A copy of a config in which dotted keys have other values."""
    config = Config(config.to_dict(), filename=config.filename)
    config.merge_from_dict(dict(values))
    qualify_types(config)
    return config


def name_of(options: Options) -> str:
    """A combination as the name of a folder, another for each; empty for an empty one."""
    text = ','.join(f'{key}={value}' for key, value in options.items())
    name = ''.join(letter if letter.isalnum() or letter in '=,.-_+' else '_' for letter in text)[:LONGEST_NAME]
    return name if name == text else f'{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}'


def _leaves(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    children: Sequence[tuple[Any, Any]] = ()
    if isinstance(node, Mapping):
        children = list(node.items())
    elif isinstance(node, (list, tuple)) and any(isinstance(entry, Mapping) for entry in node):
        children = list(enumerate(node))
    for key, value in children:
        yield from _leaves(value, join_path(path, str(key)))
    if not children:
        yield path, node


def _names(leaves: Mapping[str, Any], key: str) -> list[str]:
    """What a key that is none may have meant: whole keys for one with dots, else their last parts."""
    return list(leaves) if '.' in key else sorted({path.rpartition('.')[2] for path in leaves})
