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
from mmengine.config.lazy import LazyObject

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
    from. Names that are imported or defined for the file's own use are left out of the config, paths of ``pathlib``
    become strings, and classes imports that are put off, so that the config can be copied and dumped.

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
    _make_plain(settings)
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


def _make_plain(node: Any) -> Any:
    """Replace what cannot be dumped below a dict, in place, and in a list; what is imported lazily stays so."""
    if isinstance(node, dict):
        for key, value in list(dict.items(node)):
            plain = _put_off(value) if isinstance(value, type) else _make_plain(value)
            dict.__setitem__(node, key, plain)
        return node
    if type(node) in (list, tuple):
        return type(node)(map(_make_plain, node))
    return str(node) if isinstance(node, PurePath) else node


def _put_off(component: type) -> Any:
    """The import of a class, which mmengine carries out where a dict is asked for it; else the class."""
    home = sys.modules.get(component.__module__)
    importable = home is not None and getattr(home, component.__name__, None) is component
    return LazyObject(component.__module__, component.__name__) if importable else component
