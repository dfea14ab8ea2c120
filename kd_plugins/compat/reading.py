"""Reads config files that name mmcls, the package that became mmpretrain."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.utils import get_installed_path, import_modules_from_strings

from kd_plugins.compat.names import MMCLS, MMPRETRAIN, is_mmrazor_config

_CONFIGS = Path(get_installed_path(MMPRETRAIN)) / '.mim' / 'configs'


def read_config(path: str | Path) -> tuple[Config, list[str]]:
    """Read a config file as ``Config.fromfile`` does, with ``mmcls::`` read as ``mmpretrain::``.

    Modules of ``custom_imports`` are imported: those of mmcls as mmpretrain's; in a config of MMRazor, those of mmrazor
    are left out, for its types are looked up where they are needed.

    Args:
        path: The config file.

    Returns:
        The config, and a line for each kind of thing that was read differently.

    Raises:
        Exception: What the file, or a module that it imports, raises.
    """
    with mmcls_as_mmpretrain() as replaced:
        config = Config.fromfile(path, import_custom_modules=False)
    notes = [f'{MMCLS}:: -> {MMPRETRAIN}:: in _base_: {", ".join(replaced)}'] if replaced else []
    imports = config.get('custom_imports')
    if imports:
        config.custom_imports, found = _translate_imports(imports, is_mmrazor_config(config))
        notes += found
        if config.custom_imports['imports']:
            import_modules_from_strings(**config.custom_imports)
    return config, notes


def read_package_config(cfg_path: str) -> Config:
    """Read ``'package::path/of/config.py'`` of an installed package, with ``mmcls::`` read as ``mmpretrain::``.

    Args:
        cfg_path: Which config.
    """
    with mmcls_as_mmpretrain():
        return get_config(cfg_path)


@contextmanager
def mmcls_as_mmpretrain() -> Iterator[list[str]]:
    """Inside, mmengine finds ``mmcls::…`` among the configs that mmpretrain ships.

    mmengine looks such paths up in a function of ``Config`` that no subclass can replace.

    Yields:
        The paths that were found so, under mmpretrain's names, as they are found.
    """
    original = Config._get_cfg_path
    replaced: list[str] = []

    def find(cfg_path: str, filename: str) -> Any:
        renamed = rename_config(cfg_path)
        if renamed != cfg_path:
            path = renamed.partition('::')[2]
            replaced.extend([] if path in replaced else [path])
        package, _, path = renamed.partition('::')
        if package == MMPRETRAIN and (_CONFIGS / path).is_file():
            # mmengine would look it up in every metafile of the package, which takes seconds
            return str(_CONFIGS / path), MMPRETRAIN
        return original(renamed, filename)

    Config._get_cfg_path = staticmethod(find)
    try:
        yield replaced
    finally:
        Config._get_cfg_path = staticmethod(original)


def rename_config(cfg_path: str) -> str:
    """``'mmcls::…'`` -> ``'mmpretrain::…'``, under the name that the file has there; other paths as they are.

    mmpretrain dropped the mark ``pt-``, for pretraining, of the names of mmcls.
    """
    package, separator, path = cfg_path.partition('::')
    if package != MMCLS or not separator:
        return cfg_path
    if not (_CONFIGS / path).is_file() and (_CONFIGS / path.replace('_pt-', '_')).is_file():
        path = path.replace('_pt-', '_')
    return f'{MMPRETRAIN}::{path}'


def _translate_imports(custom_imports: dict[str, Any], of_mmrazor: bool) -> tuple[dict[str, Any], list[str]]:
    written = custom_imports.get('imports') or []
    modules: Sequence[str] = [written] if isinstance(written, str) else written
    kept, notes = [], []
    for module in modules:
        root, dot, rest = str(module).partition('.')
        if root == MMCLS:
            renamed = f'{MMPRETRAIN}{dot}{rest}'
            notes.append(f'custom_imports: {module} -> {renamed}')
            kept.append(renamed)
        elif root == 'mmrazor' and of_mmrazor:
            notes.append(f'custom_imports: without {module}; types of mmrazor are found without it')
        else:
            kept.append(module)
    return {**copy.deepcopy(dict(custom_imports)), 'imports': kept}, notes
