"""From what people call a config of mmpretrain to the one that is meant."""

from __future__ import annotations

from pathlib import Path

from mmengine.utils import get_installed_path

from kd_plugins.errors import Fault, UserError, closest

PACKAGE = 'mmpretrain'


def find_config(name: str, where: str) -> str:
    """Find a config that mmpretrain ships.

    Args:
        name: ``'resnet18_8xb32_in1k'``, ``'resnet/resnet18_8xb32_in1k.py'`` or
            ``'mmpretrain::resnet/resnet18_8xb32_in1k.py'``.
        where: The option that named it.

    Returns:
        The last of these forms.

    Raises:
        UserError: There is no such config, or there are several; the closest names are given.
    """
    package, separator, path = name.rpartition('::')
    path = path.removesuffix('.py')
    known = config_names()
    found = [config for config in known if path in (config, config.rpartition('/')[2])]
    if len(found) == 1 and package in ('', PACKAGE):
        return f'{PACKAGE}::{found[0]}.py'
    if separator and package != PACKAGE:
        advice = f"write for instance '{PACKAGE}::resnet/resnet18_8xb32_in1k.py'"
    elif found:
        advice = f'choose one of {", ".join(found)}'
    else:
        names = known if '/' in path else [config.rpartition('/')[2] for config in known]
        advice = closest(path, names)
    raise UserError(Fault(where, f'a config that {PACKAGE} ships', repr(name), advice))


def config_names() -> list[str]:
    """The configs of models that mmpretrain ships, as ``resnet/resnet18_8xb32_in1k``."""
    folder = Path(get_installed_path(PACKAGE)) / '.mim/configs'
    paths = (path.relative_to(folder).with_suffix('') for path in folder.rglob('*.py'))
    return sorted(path.as_posix() for path in paths if path.parts[0] != '_base_')
