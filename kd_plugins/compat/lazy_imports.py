"""The classes that a config imports: whether they are there, and MMRazor's as the names that they are registered under.

In a pure-Python config, mmengine puts off what ``import`` says until a value is looked at.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.registry import Registry

from kd_plugins.compat.bridge import require_mmrazor
from kd_plugins.compat.names import MMRAZOR, is_own_name
from kd_plugins.errors import Fault, UserError, closest, describe_error

_MISSING = object()


def resolve_imports(config: Config) -> None:
    """Look up everything that the settings of a config use of its imports.

    A ``type`` of the mmrazor package becomes its name, ``'mmrazor.X'``, as text configs have it: what is true of the
    name is then true of the class.

    Args:
        config: As it was read, which is changed.

    Raises:
        UserError: With each import that leads nowhere, by file and line.
    """
    faults: dict[Fault, None] = {}
    for node, key, value in list(_lazy_values(config._cfg_dict)):
        try:
            name = _name_in_mmrazor(value)
            if name is None:
                _look_up(value)
        except UserError as error:
            faults.update(dict.fromkeys(error.faults))
            continue
        if name is not None and key == 'type' and isinstance(node, dict):
            dict.__setitem__(node, key, f'{MMRAZOR}.{name}')
    if faults:
        raise UserError(*faults)


def _lazy_values(node: Any) -> Iterator[tuple[Any, Any, LazyObject | LazyAttr]]:
    """Every import that a value is, with the dict or list that it lies in and its key."""
    # the items() of mmengine's dict would import
    children = (
        dict.items(node) if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    )
    for key, value in children:
        if isinstance(value, (LazyObject, LazyAttr)):
            yield node, key, value
        else:
            yield from _lazy_values(value)


def _name_in_mmrazor(value: LazyObject | LazyAttr) -> str | None:
    """The name under which mmrazor has a class; None for what is not mmrazor's or is not registered there."""
    modules, names, where = _parts(value)
    if modules[0].partition('.')[0] != MMRAZOR or not names:
        return None
    if is_own_name(names[-1]):
        # mmrazor need not be installed, and takes seconds to import
        _require_file('.'.join([*modules[:1], *names[:-1]]), where)
        return names[-1]
    require_mmrazor(where)
    found = _look_up(value)
    registries = vars(importlib.import_module(f'{MMRAZOR}.registry')).values()
    known = any(kind.module_dict.get(names[-1]) is found for kind in registries if isinstance(kind, Registry))
    return names[-1] if known else None


def _require_file(module: str, where: str) -> None:
    """Make sure that mmrazor, where it is installed, has a file or a folder for a module."""
    package = importlib.util.find_spec(MMRAZOR)
    if package is None or package.origin is None:
        return
    place = Path(package.origin).parent.joinpath(*module.split('.')[1:])
    if not place.is_dir() and not place.with_suffix('.py').is_file():
        raise _no_module(module, where, 'mmrazor has no such module')


def _look_up(value: LazyObject | LazyAttr) -> Any:
    """Import what a value stands for.

    Raises:
        UserError: There is no such module or name in it, or importing it fails.
    """
    modules, names, where = _parts(value)
    found: Any = None
    for module in modules:
        if module.startswith('.'):
            advice = 'write the full name of the module, or `with read_base():` before the import of a config'
            raise UserError(Fault(where, 'an absolute import', f'from {module} import …', advice))
        try:
            found = importlib.import_module(module)
        except Exception as error:
            # whatever the module raises
            raise _no_module(module, where, describe_error(error, 200)) from error
    # ``import a.b`` and ``import a.c`` give a
    if not isinstance(_origin(value)._module, str):
        found = importlib.import_module(modules[0].partition('.')[0])
    for name in names:
        inner = getattr(found, name, _MISSING)
        if inner is _MISSING:
            holder = getattr(found, '__name__', repr(found))
            public = [known for known in dir(found) if not known.startswith('_')]
            raise UserError(Fault(where, f'a name that {holder} has', repr(name), closest(name, public)))
        found = inner
    return found


def _parts(value: LazyObject | LazyAttr) -> tuple[list[str], list[str], str]:
    """The modules that are imported, the names that are looked up in them, and the file and line of the import."""
    names: list[str] = []
    while isinstance(value, LazyAttr):
        names.insert(0, value.name)
        value = value.source
    if value._imported is not None:
        names.insert(0, value._imported)
    modules = [value._module] if isinstance(value._module, str) else list(value._module)
    return modules, names, value.location or modules[0]


def _origin(value: LazyObject | LazyAttr) -> LazyObject:
    while isinstance(value, LazyAttr):
        value = value.source
    return value


def _no_module(module: str, where: str, why: str) -> UserError:
    advice = 'correct the import, or install what it needs'
    return UserError(Fault(where, 'a module that can be imported', f'{module} ({why})', advice))
