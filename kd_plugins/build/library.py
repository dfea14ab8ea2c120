"""Configs that installed packages ship, named ``'package::path/of/config.py'``.

mmengine looks them up by the name of the distribution, by which it knows the forks of mmdet and mmseg not at all, and
reads every metafile of a package for it, which takes seconds.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import _get_cfg_metainfo

from kd_plugins.config_file import read_config_file


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
    config = read_config_file(library_config_file(cfg_path))
    weights = _listed_weights(cfg_path) if pretrained else None
    if weights is not None:
        config.model_path = weights
    return config


def _listed_weights(cfg_path: str) -> str | None:
    package, _, path = cfg_path.partition('::')
    try:
        return _get_cfg_metainfo(str(library_folder(package).parent), path).get('Weights')
    except ValueError:
        return None
