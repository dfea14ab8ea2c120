"""From the path of a config and the options of a command line to the config that runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.registry import Registry

from kd_plugins import registry
from kd_plugins.build import FALLBACK_SCOPE
from kd_plugins.errors import Fault, UserError, closest, describe_error

OWN_REGISTRIES = [
    value for value in vars(registry).values() if isinstance(value, Registry) and value.scope == 'kd_plugins'
]


def load_config(path: str | Path, options: dict[str, Any] | None = None) -> Config:
    """Read a config file and apply ``--cfg-options``.

    Args:
        path: The config file.
        options: Values by dotted key.

    Returns:
        The config, with types of ours written as ``kd_plugins.X``, and in mmpretrain's scope unless it names another.

    Raises:
        UserError: The file is not there or cannot be executed, or an option does not fit it.
    """
    path = Path(path)
    if not path.is_file():
        nearby = [str(file) for file in path.parent.glob('*.py')] if path.parent.is_dir() else []
        raise UserError(Fault('CONFIG', 'a config file', f'{path}, which does not exist', closest(str(path), nearby)))
    try:
        config = Config.fromfile(path)
    except Exception as error:
        # a config is the user's own Python: whatever it raises is theirs to mend
        message = str(error) if isinstance(error, OSError) else describe_error(error, 400)
        raise UserError(Fault(str(path), 'a Python config that can be read', message, 'correct the file')) from error
    try:
        config.merge_from_dict(options or {})
    except (KeyError, TypeError, IndexError, AssertionError) as error:
        raise UserError(
            Fault('--cfg-options', 'keys that fit the config', f'{options} ({error})', 'correct the key')
        ) from error
    if not isinstance(config.get('model'), dict):
        raise UserError(Fault('model', 'a dict', repr(config.get('model')), f'define the model in {path}'))
    config.default_scope = config.get('default_scope') or FALLBACK_SCOPE
    qualify_types(config)
    return config


def qualify_types(config: Config) -> None:
    """Write ``X`` as ``kd_plugins.X`` wherever the config's own scope has no X and this package has."""
    scope = config.default_scope
    ours = {}
    for own in OWN_REGISTRIES:
        own.import_from_location()
        with own.switch_scope_and_registry(scope) as users:
            for name in own.module_dict:
                if users.get(name) is None:
                    ours[name] = f'{own.scope}.{name}'
    _qualify(config._cfg_dict, ours)


def _qualify(node: Any, ours: dict[str, str]) -> None:
    if isinstance(node, dict):
        if '_scope_' in node:
            return
        if isinstance(node.get('type'), str):
            node['type'] = ours.get(node['type'], node['type'])
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
        action=DictAction,
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
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / Path(arguments.config).stem)
