"""From the path of a config and the options of a command line to the config that runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config.utils import ConfigParsingError

from kd_plugins.build import FALLBACK_SCOPE, names_in, require_library_config
from kd_plugins.compat.bridge import require_mmrazor
from kd_plugins.compat.names import OWN_REGISTRIES
from kd_plugins.compat.reading import read_config
from kd_plugins.compat.translate import mmrazor_types, translate
from kd_plugins.engine.command_line import KeyValueAction
from kd_plugins.engine.distributed import rank_of_speaker
from kd_plugins.errors import Fault, UserError, closest, describe_error
from kd_plugins.preflight import shape_faults
from kd_plugins.stack import require_operators

MIXED_STYLES = (
    'import packages other than the standard library below _base_; a pure-Python config has `with read_base():` instead'
)
# parts of distillers
PARTS = ('kd_plugins.losses', 'kd_plugins.connectors', 'kd_plugins.recorders', 'kd_plugins.deliveries')


def load_config(path: str | Path, options: dict[str, Any] | None = None) -> Config:
    """Read a config file and apply ``--cfg-options``.

    A config of MMRazor is read as one of ours: options name its keys as the file has them, and what was read
    differently is told on stderr, by the first of several processes.

    Args:
        path: The config file, or ``'package::path/of/config.py'`` for one that an installed package ships.
        options: Values by dotted key.

    Returns:
        The config, with types of ours written as ``kd_plugins.X``, and in mmpretrain's scope unless it names another.

    Raises:
        UserError: The file is not there or cannot be executed, an option does not fit it, it names types of the
            mmrazor package, which cannot be imported, or detectors or segmentors, which mmcv has no operators for.
    """
    config, notes = read_translated(path, options)
    if notes and rank_of_speaker() == 0:
        # not to stdout, where tools print what others read
        print(describe_notes(path, notes), file=sys.stderr, flush=True)
    config.default_scope = config.get('default_scope') or FALLBACK_SCOPE
    require_operators(config.default_scope, 'default_scope')
    for where, name in names_in(config._cfg_dict, ('type', 'constructor', '_scope_')):
        require_operators(name.partition('.')[0], where)
    for where in mmrazor_types(config)[:1]:
        require_mmrazor(where)
    qualify_types(config)
    return config


def read_translated(path: str | Path, options: dict[str, Any] | None = None) -> tuple[Config, list[str]]:
    """Read a config file, apply options, and translate what is MMRazor's.

    Args:
        path: The config file.
        options: Values by dotted key.

    Returns:
        The config, and a line for each kind of thing that was read differently.

    Raises:
        UserError: As for :func:`load_config`.
    """
    path = _find_config(path)
    try:
        config, notes = read_config(path)
    except UserError:
        raise
    except Exception as error:
        # a config is the user's own Python: whatever it raises is theirs to mend
        message = str(error) if isinstance(error, OSError) else describe_error(error, 400)
        advice = MIXED_STYLES if isinstance(error, ConfigParsingError) else 'correct the file'
        raise UserError(Fault(str(path), 'a Python config that can be read', message, advice)) from error
    try:
        config.merge_from_dict(options or {})
    except (KeyError, TypeError, IndexError, AssertionError) as error:
        raise UserError(
            Fault('--cfg-options', 'keys that fit the config', f'{options} ({error})', 'correct the key')
        ) from error
    if not isinstance(config.get('model'), dict):
        raise UserError(Fault('model', 'a dict', repr(config.get('model')), f'define the model in {path}'))
    faults = shape_faults(config)
    if faults:
        raise UserError(*faults)
    config, found = translate(config)
    return config, notes + found


def _find_config(path: str | Path) -> Path:
    """The file of a config, which may be one that a package ships: ``'package::path/of/config.py'``."""
    file = Path(path)
    if file.is_file():
        return file
    package, separator, _ = str(path).partition('::')
    if separator:
        require_operators(package, 'CONFIG')
        return require_library_config('CONFIG', str(path))
    nearby = [str(beside) for beside in file.parent.glob('*.py')] if file.parent.is_dir() else []
    raise UserError(Fault('CONFIG', 'a config file', f'{file}, which does not exist', closest(str(file), nearby)))


def describe_notes(path: str | Path, notes: Sequence[str]) -> str:
    """What was read differently, as one block."""
    return '\n'.join([f'{path}: read for kd_plugins and mmpretrain', *(f'  {note}' for note in notes)])


def qualify_types(config: Config) -> None:
    """Write ``X`` as ``kd_plugins.X`` wherever the config's own scope has no X and this package has."""
    scope = config.default_scope
    ours = {}
    for own in OWN_REGISTRIES:
        own.import_from_location()
        with own.switch_scope_and_registry(scope) as users:
            for name, component in own.module_dict.items():
                # inside a distiller ours are found first; elsewhere CrossEntropyLoss is another library's
                if not component.__module__.startswith(PARTS) and users.get(name) is None:
                    ours[name] = f'{own.scope}.{name}'
    _qualify(config._cfg_dict, ours)


def _qualify(node: Any, ours: dict[str, str]) -> None:
    if isinstance(node, dict):
        if '_scope_' in node:
            return
        for key in ('type', 'constructor'):
            if isinstance(node.get(key), str):
                node[key] = ours.get(node[key], node[key])
    children = node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ()
    for child in children:
        _qualify(child, ours)


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``CONFIG``, ``--work-dir``, ``--cfg-options`` and ``--launcher``, as OpenMMLab's tools have them."""
    parser.add_argument('config', help='path of the config file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints; work_dirs/<name of the config> by default')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValueAction,
        metavar='KEY=VALUE',
        help='values to change in the config, e.g. train_cfg.max_epochs=10',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    # torch.distributed.launch of old passes it; torchrun sets the environment variable instead
    parser.add_argument('--local_rank', '--local-rank', type=int, default=None, help=argparse.SUPPRESS)


def apply_arguments(config: Config, arguments: argparse.Namespace) -> None:
    """Write the arguments of :func:`add_config_arguments` into the config."""
    config.launcher = arguments.launcher
    if arguments.work_dir:
        config.work_dir = arguments.work_dir
    set_run_defaults(config)


def set_run_defaults(config: Config) -> None:
    """Set what a run needs and a config file need not have: ``launcher``, and ``work_dir``, named after the file.

    Args:
        config: The whole config, which is changed.
    """
    if config.get('launcher') is None:
        config.launcher = 'none'
    if config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / Path(config.filename or 'config').stem)
