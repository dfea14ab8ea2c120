"""From what people call a config of a library to the one that is meant."""

from __future__ import annotations

from kd_plugins.build import library_folder
from kd_plugins.errors import Fault, UserError, closest
from kd_plugins.scaffold.libraries import Library
from kd_plugins.stack import require_operators


def find_config(name: str, where: str, library: Library) -> str:
    """Find a config that a library ships.

    Args:
        name: ``'resnet18_8xb32_in1k'``, ``'resnet/resnet18_8xb32_in1k.py'`` or
            ``'mmpretrain::resnet/resnet18_8xb32_in1k.py'``.
        where: The option that named it.
        library: The library.

    Returns:
        The last of these forms.

    Raises:
        UserError: The library cannot be imported here, there is no such config, or there are several; the closest
            names are given.
    """
    require_operators(library.package, where)
    package, separator, path = name.rpartition('::')
    path = path.removesuffix('.py')
    known = config_names(library.package)
    found = [config for config in known if path in (config, config.rpartition('/')[2])]
    if len(found) == 1 and package in ('', library.package):
        return f'{library.package}::{found[0]}.py'
    if separator and package != library.package:
        advice = f"choose another --method, or write for instance '{library.package}::{library.example}'"
    elif found:
        advice = f'choose one of {", ".join(found)}'
    else:
        names = known if '/' in path else [config.rpartition('/')[2] for config in known]
        advice = closest(path, names)
    raise UserError(Fault(where, f'a config that {library.package} ships', repr(name), advice))


def config_names(package: str) -> list[str]:
    """The configs of models that a package ships, as ``resnet/resnet18_8xb32_in1k``."""
    folder = library_folder(package) / 'configs'
    paths = (path.relative_to(folder).with_suffix('') for path in folder.rglob('*.py'))
    return sorted(path.as_posix() for path in paths if path.parts[0] != '_base_')
