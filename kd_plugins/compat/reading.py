"""Reads config files that name mmcls, the package that became mmpretrain, or configs by the names of mmdet 2."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config

from kd_plugins.arguments import refuse_other_keys
from kd_plugins.build import library_folder, read_library_config, require_library_config
from kd_plugins.compat.lazy_imports import resolve_imports
from kd_plugins.compat.names import MMCLS, MMDET, MMPRETRAIN, is_mmrazor_config
from kd_plugins.compat.user_modules import import_user_modules
from kd_plugins.config_file import read_config_file
from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import SCOPE
from kd_plugins.stack import require_operators

_CONFIGS = library_folder(MMPRETRAIN) / 'configs'


def read_config(path: str | Path) -> tuple[Config, list[str]]:
    """Read a config file as ``Config.fromfile`` does, with ``mmcls::`` read as ``mmpretrain::``.

    Modules of ``custom_imports`` are imported: those of mmcls as mmpretrain's; in a config of MMRazor, those of mmrazor
    are left out, for its types are looked up where they are needed.

    Args:
        path: The config file.

    Returns:
        The config, and a line for each kind of thing that was read differently.

    Raises:
        UserError: It uses an import that leads nowhere, or its ``custom_imports`` are not what mmengine takes, or name
            a module that cannot be imported.
        Exception: What the file raises.
    """
    with names_of_today() as replaced:
        config = read_config_file(path, import_custom_modules=False)
    resolve_imports(config)
    of_mmcls = ', '.join(rename_config(path).partition('::')[2] for path in replaced if path.startswith(f'{MMCLS}::'))
    notes = [f'{MMCLS}:: -> {MMPRETRAIN}:: in _base_: {of_mmcls}'] if of_mmcls else []
    notes += [f'{path} -> {rename_config(path)}' for path in replaced if not path.startswith(f'{MMCLS}::')]
    imports = config.get('custom_imports')
    if imports:
        _check_imports(imports)
        config.custom_imports, found = _translate_imports(imports, is_mmrazor_config(config))
        notes += found
        if config.custom_imports['imports']:
            import_user_modules(**config.custom_imports)
    return config, notes


def read_package_config(cfg_path: str) -> Config:
    """Read ``'package::path/of/config.py'`` of an installed package, with ``mmcls::`` read as ``mmpretrain::``.

    Args:
        cfg_path: Which config.
    """
    with names_of_today():
        return read_library_config(cfg_path)


@contextmanager
def names_of_today() -> Iterator[list[str]]:
    """Inside, mmengine finds ``mmcls::…`` among the configs that mmpretrain ships, and what mmdet 2 called otherwise.

    mmengine looks such paths up in a function of ``Config`` that no subclass can replace.

    Yields:
        The paths that are found under another name, as they are found.

    Raises:
        UserError: A config is asked for that does not exist, or one of mmdet or mmseg, which cannot be imported here.
    """
    original = Config._get_cfg_path
    replaced: list[str] = []

    def find(cfg_path: str, filename: str) -> Any:
        renamed = rename_config(cfg_path)
        if renamed != cfg_path and cfg_path not in replaced:
            replaced.append(cfg_path)
        package, separator, _ = renamed.partition('::')
        if not separator:
            return original(cfg_path, filename)
        require_operators(package, f'{filename}: _base_')
        # ours are written in the scope of whoever reads them, mmpretrain's by default, as files beside the config are
        return str(require_library_config(f'{filename}: _base_', renamed)), None if package == SCOPE else package

    Config._get_cfg_path = staticmethod(find)
    try:
        yield replaced
    finally:
        Config._get_cfg_path = staticmethod(original)


def rename_config(cfg_path: str) -> str:
    """The path of a package's config under the name that it has today; other paths as they are.

    ``'mmcls::…'`` is of mmpretrain, which dropped the mark ``pt-``, for pretraining, of its names. mmdet 3 writes
    hyphens where mmdet 2 had underscores.
    """
    package, separator, path = cfg_path.partition('::')
    if package == MMCLS and separator:
        if not (_CONFIGS / path).is_file() and (_CONFIGS / path.replace('_pt-', '_')).is_file():
            path = path.replace('_pt-', '_')
        return f'{MMPRETRAIN}::{path}'
    if package == MMDET and separator and importlib.util.find_spec(MMDET) is not None:
        return f'{MMDET}::{_with_hyphens(library_folder(MMDET) / "configs", path)}'
    return cfg_path


def _with_hyphens(root: Path, path: str) -> str:
    """A path below ``root``, or that of the only file beside it whose name differs by hyphens alone."""
    wanted = root / path
    plain = wanted.name.replace('-', '_')
    alike = [file for file in wanted.parent.glob('*.py') if file.name.replace('-', '_') == plain]
    return path if wanted.is_file() or len(alike) != 1 else alike[0].relative_to(root).as_posix()


def _check_imports(custom_imports: Any) -> None:
    if not isinstance(custom_imports, dict):
        advice = "write custom_imports=dict(imports=['…'])"
        raise UserError(Fault('custom_imports', 'a dict', repr(custom_imports)[:80], advice))
    refuse_other_keys('custom_imports', custom_imports, ('imports', 'allow_failed_imports'))
    names = custom_imports.get('imports') or []
    if not all(isinstance(name, str) for name in (names if isinstance(names, (list, tuple)) else [names])):
        expected = 'the name of a module, or a list of them'
        raise UserError(Fault('custom_imports.imports', expected, repr(names)[:80], "write imports=['…']"))


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
