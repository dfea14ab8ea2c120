"""Configs that installed packages ship, named ``'package::path/of/config.py'``.

mmengine looks them up by the name of the distribution, by which it knows the forks of mmdet and mmseg not at all, and
parses every metafile of a package for it, which takes seconds.
"""

from __future__ import annotations

import copy
import functools
import importlib.util
from pathlib import Path

from mmengine.config import Config
from mmengine.fileio import load

from kd_plugins.config_file import read_config_file
from kd_plugins.errors import Fault, UserError, closest


def library_config_file(cfg_path: str) -> Path:
    """The file of a config.

    Args:
        cfg_path: ``'package::path/of/config.py'``.

    Raises:
        FileNotFoundError: No such package is installed, or it ships no such config.
    """
    package, _, path = cfg_path.partition('::')
    file = library_folder(package) / 'configs' / path
    if not file.is_file():
        raise FileNotFoundError(f'{file} does not exist')
    return file


def require_library_config(where: str, cfg_path: str) -> Path:
    """The file of a config that a user named.

    Args:
        where: What named it, for the message.
        cfg_path: ``'package::path/of/config.py'``.

    Raises:
        UserError: No such package is installed, or it ships no such config; the closest ones are named.
    """
    package = cfg_path.partition('::')[0]
    if not package.isidentifier() or importlib.util.find_spec(package) is None:
        advice = "write for instance 'kd_plugins::quickstart/kd_vgg_cnn_digits.py', or the path of a file"
        raise UserError(Fault(where, 'a config of a package that is installed', repr(cfg_path), advice))
    try:
        return library_config_file(cfg_path)
    except FileNotFoundError as error:
        folder = library_folder(package) / 'configs'
        shipped = [f'{package}::{file.relative_to(folder).as_posix()}' for file in folder.rglob('*.py')]
        advice = closest(cfg_path, shipped)
        raise UserError(Fault(where, f'a config that {package} ships', repr(cfg_path), advice)) from error


def library_folder(package: str) -> Path:
    """Where an installed package keeps ``configs`` and what it lists of them.

    Args:
        package: By its import name.

    Raises:
        FileNotFoundError: It is not installed.
    """
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise FileNotFoundError(f'no package {package} is installed')
    return Path(found.origin).parent / '.mim'


def read_library_config(cfg_path: str, pretrained: bool = False) -> Config:
    """Read a config.

    Args:
        cfg_path: ``'package::path/of/config.py'``.
        pretrained: Add the address of its weights, ``model_path``, where the package lists any.

    Raises:
        FileNotFoundError: No such package is installed, or it ships no such config.
    """
    file = library_config_file(cfg_path)
    config = copy.deepcopy(_read(file, file.stat().st_mtime_ns))
    weights = _listed_weights(cfg_path) if pretrained else None
    if weights is not None:
        config.model_path = weights
    return config


@functools.lru_cache(maxsize=64)
def _read(file: Path, _changed: int) -> Config:
    """A config of an installed package, which a preflight asks for several times."""
    return read_config_file(file)


def _listed_weights(cfg_path: str) -> str | None:
    package, _, path = cfg_path.partition('::')
    folder = library_folder(package)
    for name in load(str(folder / 'model-index.yml'))['Import']:
        file = folder / name
        # there are eighty, and to parse one takes longer than to search it
        if path not in file.read_text(encoding='utf-8'):
            continue
        for listed in load(str(file))['Models']:
            if listed.get('Config', '').partition('/')[2] == path:
                return listed.get('Weights')
    return None
