"""Config files as mmengine reads them, with Python's standard library known for what it is."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

import mmengine.config.config
import mmengine.config.utils
from mmengine.config import Config

# what import and def leave among the names of a file: never a setting, and nothing that can be dumped or copied
_NO_SETTINGS = (
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    functools.partial,
    type,
)


def read_config_file(path: str | Path, import_custom_modules: bool = True) -> Config:
    """Read a config file as ``Config.fromfile`` does.

    Imports of the standard library are ordinary ones, in text configs and pure-Python ones, and in what they inherit
    from. Names that are imported or defined for the file's own use are left out of the config, and paths of
    ``pathlib`` become strings, so that the config can be copied and dumped.

    Args:
        path: The config file.
        import_custom_modules: Whether to import the modules of ``custom_imports``.

    Returns:
        The config.

    Raises:
        Exception: What the file, or a module that it imports, raises.
    """
    with _standard_library_known():
        config = Config.fromfile(path, import_custom_modules=import_custom_modules)
    imported = getattr(config, '_imported_names', ())
    settings = config._cfg_dict
    for name, value in list(dict.items(settings)):
        if name in imported or isinstance(value, _NO_SETTINGS):
            dict.pop(settings, name)
    _write_paths(settings)
    return config


def read_config_text(text: str) -> Config:
    """Read the text of a config file as ``Config.fromstring`` does.

    Args:
        text: Python.

    Returns:
        The config.
    """
    with _standard_library_known():
        return Config.fromstring(text, '.py')


@contextmanager
def _standard_library_known() -> Iterator[None]:
    """Inside, mmengine takes no module of the standard library for third-party.

    mmengine 0.10.7 compares the module's file with the folder of the interpreter, which in a virtual environment holds
    no standard library. It asks a function of ``mmengine.config`` that two of its files import.
    """
    homes = (mmengine.config.config, mmengine.config.utils)
    original = mmengine.config.utils._is_builtin_module

    def is_builtin(module_name: str) -> bool:
        return module_name.partition('.')[0] in sys.stdlib_module_names or original(module_name)

    _replace(homes, is_builtin)
    try:
        yield
    finally:
        _replace(homes, original)


def _replace(homes: tuple[Any, ...], function: Callable[[str], bool]) -> None:
    for home in homes:
        home._is_builtin_module = function


def _write_paths(node: Any) -> None:
    """Turn paths below a dict into strings, in place; what is imported lazily stays so."""
    if isinstance(node, dict):
        for key, value in list(dict.items(node)):
            if isinstance(value, PurePath):
                dict.__setitem__(node, key, str(value))
            elif isinstance(value, (list, tuple)):
                dict.__setitem__(node, key, _with_written_paths(value))
            else:
                _write_paths(value)


def _with_written_paths(values: Any) -> Any:
    written = []
    for value in values:
        if isinstance(value, (list, tuple)):
            written.append(_with_written_paths(value))
            continue
        _write_paths(value)
        written.append(str(value) if isinstance(value, PurePath) else value)
    return type(values)(written)
