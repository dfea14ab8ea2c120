"""Has a config what the Runner needs for training, validation or testing?"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from kd_plugins.build import leftover_deletions
from kd_plugins.errors import Fault, join_path

# what each part of a run consists of; validation may be left out as a whole
PARTS = {
    'train': ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    'val': ('val_dataloader', 'val_cfg', 'val_evaluator'),
    'test': ('test_dataloader', 'test_cfg', 'test_evaluator'),
}
OTHER_DICTS = ('default_hooks', 'env_cfg', 'randomness', 'auto_scale_lr', 'data_preprocessor')
# what the Runner builds: other keys of a file are its own variables, which may wait to be merged elsewhere
RUNNER_KEYS = tuple(inspect.signature(Runner.__init__).parameters)[1:]
# what mmengine's Runner has unless a config says None
DEFAULT_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')
LISTED = ('param_scheduler', 'val_evaluator', 'test_evaluator')


def shape_faults(config: Any) -> list[Fault]:
    """Look for plain values in place of dicts or lists, scopes that are no names, and ``_delete_`` over nothing.

    Args:
        config: The whole config, as it was read.
    """
    faults = []
    for key in dict.fromkeys((*(key for keys in PARTS.values() for key in keys), *OTHER_DICTS, *LISTED)):
        value = config.get(key)
        expected = 'a dict, or a list of them' if key in LISTED else 'a dict'
        plain = (str, int, float) if key in LISTED else (str, int, float, list, tuple)
        if isinstance(value, plain):
            faults.append(Fault(key, expected, repr(value)[:80], f'write {key}=dict(…)'))
    faults += [
        Fault(where, 'the name of a library', repr(scope)[:80], f"write {where.rpartition('.')[2]}='mmpretrain'")
        for where, scope in _scopes(config._cfg_dict)
        if scope is not None and not isinstance(scope, str)
    ]
    return faults + leftover_deletions(runner_part(config), '')


def runner_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a config the Runner reads, without the variables that a file has beside it.

    Args:
        config: The whole config.
    """
    return {key: config[key] for key in RUNNER_KEYS if key in config}


def _scopes(node: Any, where: str = '') -> Iterator[tuple[str, Any]]:
    """What a config says of scopes, by key path."""
    if isinstance(node, dict):
        yield from ((join_path(where, key), node[key]) for key in ('default_scope', '_scope_') if key in node)
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, child in children:
        yield from _scopes(child, join_path(where, str(key)))


def part_faults(config: Any, part: str) -> list[Fault]:
    """Look for the keys of a part, and at the list of hooks.

    Args:
        config: The whole config.
        part: ``'train'``, ``'val'`` or ``'test'``.

    Returns:
        A fault per missing key, and per entry of ``custom_hooks`` that is no hook.
    """
    keys = PARTS[part]
    missing = [key for key in keys if config.get(key) is None]
    if part == 'val' and len(missing) == len(keys):
        missing = []
    faults = [Fault(key, f'the {part} part of the config', 'none', _advice(key, keys, config)) for key in missing]
    faults += _loader_faults(config, keys[0])
    hooks = _hook_faults(config.get('custom_hooks')) + _default_hook_faults(config.get('default_hooks'))
    return faults if part == 'val' else faults + hooks


def _advice(key: str, keys: Sequence[str], config: Any) -> str:
    near = difflib.get_close_matches(key, [name for name in map(str, config) if name not in keys], 1, 0.88)
    if near:
        return f'is {near[0]!r} meant to be {key!r}?'
    return f'add it, or take over a _base_ that has it ({", ".join(keys)} belong together)'


def _loader_faults(config: Any, loader: str) -> list[Fault]:
    """A data set and a sampler are configs, or objects that a Python program has put there."""
    parts = config.get(loader)
    return [
        Fault(f'{loader}.{key}', 'a dict with the key type', repr(parts[key])[:80], "write dict(type='…', …)")
        for key in ('dataset', 'sampler')
        if isinstance(parts, dict) and key in parts and not _is_part(parts[key])
    ]


def _is_part(value: Any) -> bool:
    if isinstance(value, dict):
        return 'type' in value
    return value is not None and not isinstance(value, (str, int, float, list, tuple))


def _hook_faults(hooks: Any) -> list[Fault]:
    if hooks is None:
        return []
    if not isinstance(hooks, (list, tuple)):
        return [Fault('custom_hooks', 'a list of hooks', f'a {type(hooks).__name__}', 'write [dict(type=…)]')]
    return [
        Fault(f'custom_hooks.{index}', 'a dict with the key type', repr(hook), 'write dict(type=…)')
        for index, hook in enumerate(hooks)
        if not isinstance(hook, Hook) and not (isinstance(hook, dict) and 'type' in hook)
    ]


def _default_hook_faults(hooks: Any) -> list[Fault]:
    """None switches one of mmengine's own default hooks off, and is no hook under another name."""
    return [
        Fault(f'default_hooks.{name}', 'a dict with the key type', 'None', 'write dict(type=…), or remove it')
        for name, hook in (hooks.items() if isinstance(hooks, Mapping) else ())
        if hook is None and name not in DEFAULT_HOOKS
    ]
