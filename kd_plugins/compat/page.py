"""A config of MMRazor, written down as one of this package."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from kd_plugins.compat.names import MMPRETRAIN, MMRAZOR
from kd_plugins.compat.reading import mmcls_as_mmpretrain, rename_config

WIDTH = 120
DELETE = '_delete_'
# what the Runner and the tools look up; other names of a config are there for the config itself
RUN_KEYS = (
    *(name for name in inspect.signature(Runner).parameters if name != 'cfg'),
    'activation_checkpointing',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
)


def write_page(config: Config, source: str | Path, notes: Sequence[str], out: str | Path) -> str:
    """Write a translated config as a file: the configs of packages that it inherits from, and what differs from them.

    Args:
        config: Of :func:`kd_plugins.compat.translate.translate`.
        source: The file that it was read from.
        notes: What was read differently.
        out: Where it will be, for the launch line.

    Returns:
        The text.
    """
    bases = package_bases(source)
    inherited = run_part(Config.fromstring(f'_base_ = {bases!r}\n', '.py')) if bases else {}
    header = [_header(source, notes, out)] + ([assign('_base_', bases)] if bases else [])
    parts = ['\n'.join(header)]
    for key, value in run_part(config).items():
        if key not in inherited:
            parts.append(assign(key, value))
        elif inherited[key] != value:
            parts.append(assign(key, _difference(inherited[key], value)))
    return '\n\n'.join(parts) + '\n'


def run_part(config: Config) -> dict[str, Any]:
    """What a run takes from a config: without helper variables of the file, and scopes that are the default one."""
    scope = config.get('default_scope') or MMPRETRAIN
    whole = config._cfg_dict.to_dict()
    return {key: _without_scope(value, scope) for key, value in whole.items() if key in RUN_KEYS}


def _without_scope(node: Any, scope: str) -> Any:
    if isinstance(node, dict):
        kept = {key: value for key, value in node.items() if key != '_scope_' or value != scope}
        return {key: _without_scope(value, kept.get('_scope_', scope)) for key, value in kept.items()}
    return type(node)(_without_scope(child, scope) for child in node) if isinstance(node, (list, tuple)) else node


def package_bases(path: str | Path) -> list[str]:
    """The configs of installed packages that a config inherits from, those of its own relative bases included.

    Configs of mmrazor count as relative ones: they inherit from mmcls.
    """
    found: list[str] = []
    with mmcls_as_mmpretrain():
        for base in Config._get_base_files(str(path)):
            name = rename_config(base)
            inherited = [name]
            if '::' not in name or name.startswith(f'{MMRAZOR}::'):
                inherited = package_bases(Config._get_cfg_path(base, str(path))[0])
            found += [name for name in inherited if name not in found]
    return found


def assign(name: str, value: Any) -> str:
    """``name = value``, over several lines where it is long."""
    return f'{name} = {_render(value, 0, len(name) + 3)}'


def _header(source: str | Path, notes: Sequence[str], out: str | Path) -> str:
    lines = [
        f'Made from {Path(source).name} of MMRazor by tools/translate_config.py, which read it with these changes:',
        *(f'  {note}' for note in notes),
        f'Launch: python tools/train.py {Path(out).as_posix()}',
        'Result: not measured',
    ]
    return '\n'.join(
        wrapped
        for line in lines
        for wrapped in textwrap.wrap(
            line.strip(),
            WIDTH,
            initial_indent='#   ' if line.startswith(' ') else '# ',
            subsequent_indent='#     ' if line.startswith(' ') else '# ',
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def _difference(base: Any, target: Any) -> Any:
    """What, merged into ``base`` by mmengine, gives ``target``."""
    if not isinstance(target, Mapping):
        return target
    if not isinstance(base, Mapping) or not set(base) <= set(target):
        return {DELETE: True, **target}
    return {
        key: _difference(base[key], value) if key in base else value
        for key, value in target.items()
        if key not in base or base[key] != value
    }


def _render(value: Any, indent: int, before: int) -> str:
    """A value as Python; ``indent`` is that of its line, ``before`` the width of what stands before it there."""
    flat = _flat(value)
    # one more for the comma
    if not isinstance(value, (dict, list, tuple)) or not value or indent + before + len(flat) + 1 <= WIDTH:
        return flat
    inner = ' ' * (indent + 4)
    if isinstance(value, dict):
        named = _is_named(value)
        opening, closing = ('dict(', ')') if named else ('{', '}')
        entries = [_key(key, named) for key in _ordered(value)]
        lines = [
            f'{inner}{entry}{_render(value[key], indent + 4, len(entry))},'
            for entry, key in zip(entries, _ordered(value), strict=True)
        ]
    else:
        opening, closing = ('[', ']') if isinstance(value, list) else ('(', ')')
        lines = [f'{inner}{_render(child, indent + 4, 0)},' for child in value]
    return '\n'.join([opening, *lines, ' ' * indent + closing])


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        named = _is_named(value)
        inner = ', '.join(f'{_key(key, named)}{_flat(value[key])}' for key in _ordered(value))
        return f'dict({inner})' if named else f'{{{inner}}}'
    if isinstance(value, list):
        return f'[{", ".join(map(_flat, value))}]'
    if isinstance(value, tuple):
        return f'({", ".join(map(_flat, value))}{"," if len(value) == 1 else ""})'
    return repr(value)


def _is_named(value: Mapping[Any, Any]) -> bool:
    return all(isinstance(key, str) and key.isidentifier() for key in value)


def _key(key: Any, named: bool) -> str:
    return f'{key}=' if named else f'{key!r}: '


def _ordered(value: Mapping[Any, Any]) -> list[Any]:
    """Keys as they were written, what the dict is first."""
    return sorted(value, key=lambda key: (key != DELETE, key != 'type'))
