"""A config of MMRazor, written down as one of this package."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from kd_plugins.compat.names import MMPRETRAIN, MMRAZOR
from kd_plugins.compat.reading import names_of_today, rename_config
from kd_plugins.config_file import read_config_text
from kd_plugins.config_text import assign, comment

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
    inherited = run_part(read_config_text(f'_base_ = {bases!r}\n')) if bases else {}
    header = [_header(source, notes, out)] + ([assign('_base_', bases)] if bases else [])
    parts = ['\n'.join(header)]
    for key, value in run_part(config).items():
        if key not in inherited:
            parts.append(assign(key, type_first(value)))
        elif inherited[key] != value:
            parts.append(assign(key, type_first(_difference(inherited[key], value))))
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
    with names_of_today():
        for base in Config._get_base_files(str(path)):
            name = rename_config(base)
            inherited = [name]
            if '::' not in name or name.startswith(f'{MMRAZOR}::'):
                inherited = package_bases(Config._get_cfg_path(base, str(path))[0])
            found += [name for name in inherited if name not in found]
    return found


def _header(source: str | Path, notes: Sequence[str], out: str | Path) -> str:
    made = f'Made from {Path(source).name} of MMRazor by tools/translate_config.py, which read it with these changes:'
    lines = [made, *(f'  {note}' for note in notes)]
    return comment('\n'.join([*lines, f'Launch: python tools/train.py {Path(out).as_posix()}', 'Result: not measured']))


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


def type_first(value: Any) -> Any:
    """A part of a config with its keys as they were written, but what each dict is first."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (key != DELETE, key != 'type'))
        return {key: type_first(value[key]) for key in keys}
    return type(value)(map(type_first, value)) if isinstance(value, (list, tuple)) else value
