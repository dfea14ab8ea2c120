"""Functions and methods that a config names by their path, and how others take their place for a while."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from kd_plugins.errors import Fault, UserError, closest


class Place(NamedTuple):
    """Where a function is looked up when it is called.

    Attributes:
        owner: Module or class.
        name: Its name there.
        function: What is there now.
    """

    owner: ModuleType | type
    name: str
    function: FunctionType

    def replace(self, wrapper: Callable[..., Any]) -> Callable[[], None]:
        """Put ``wrapper`` there, under the name and signature of the function.

        Returns:
            What puts the function back. Several replacements of one place are undone in the reverse order.
        """
        # a method may be inherited, a function made when it is asked for
        own = self.name in vars(self.owner)
        setattr(self.owner, self.name, functools.wraps(self.function)(wrapper))
        if own:
            return functools.partial(setattr, self.owner, self.name, self.function)
        return functools.partial(delattr, self.owner, self.name)


def find_function(path: Any, where: str) -> Place:
    """Find a function in the module whose code calls it.

    Args:
        path: ``'package.module.function'``.
        where: Name of the argument that has the path.

    Raises:
        UserError: There is no such Python function; the closest names are given.
    """
    module_path, name = _split(path, 'package.module.function', where)
    module = _import(module_path, where)
    found = getattr(module, name, None)
    expected = f'a Python function of {module_path}'
    return Place(module, name, _require_function(found, name, expected, vars(module), where))


def find_method(path: Any, where: str) -> Place:
    """Find a method that takes ``self``; it may be inherited.

    Args:
        path: ``'package.module.Class.method'``.
        where: Name of the argument that has the path.

    Raises:
        UserError: There is no such Python method; the closest names are given.
    """
    module_path, owner, name = _split(path, 'package.module.Class.method', where)
    module = _import(module_path, where)
    cls = getattr(module, owner, None)
    if not isinstance(cls, type):
        classes = (member for member, found in vars(module).items() if isinstance(found, type))
        got = repr(owner) if cls is None else f'{owner!r}, a {type(cls).__name__}'
        advice = closest(owner, classes)
        if isinstance(cls, ModuleType):
            advice = 'a function belongs to FunctionOutputs or its like, as package.module.function'
        raise UserError(Fault(where, f'a class of {module_path}', got, advice))
    members = {member: found for base in reversed(cls.__mro__) for member, found in vars(base).items()}
    expected = f'a Python method of {module_path}.{owner} that takes self'
    return Place(cls, name, _require_function(members.get(name), name, expected, members, where))


def _split(path: Any, form: str, where: str) -> list[str]:
    """The module of a path, and as many further names as ``form`` has after ``module``."""
    count = len(form.split('.')) - 2  # package and module
    parts = str(path).split('.')
    if len(parts) <= count or not all(part.isidentifier() for part in parts):
        raise UserError(Fault(where, f'a path of the form {form}', repr(path), 'write the whole path'))
    return ['.'.join(parts[:-count]), *parts[-count:]]


def _import(path: str, where: str) -> ModuleType:
    """Import a module, one package after the other."""
    package, _, name = path.rpartition('.')
    parent = _import(package, where) if package else None
    try:
        return importlib.import_module(path)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == path:
            raise UserError(_unknown_module(parent, name, where)) from error
        got = f'{path!r}, which fails with {type(error).__name__}: {error}'
        raise UserError(Fault(where, 'a module that imports', got, 'install or mend what it needs')) from error


def _require_function(value: Any, name: str, expected: str, members: Mapping[str, Any], where: str) -> FunctionType:
    """Refuse what is no function that was defined in Python; ``members`` is what else is there."""
    if isinstance(value, FunctionType):
        return value
    got = repr(name) if value is None else f'{name!r}, a {type(value).__name__}'
    functions = (member for member, found in members.items() if isinstance(found, FunctionType))
    raise UserError(Fault(where, expected, got, closest(name, functions)))


def _unknown_module(package: ModuleType | None, name: str, where: str) -> Fault:
    if package is None:
        modules = (found.name for found in pkgutil.iter_modules())
        return Fault(where, 'an installed package', repr(name), closest(name, modules))
    if isinstance(getattr(package, name, None), type):
        advice = 'a method belongs to MethodOutputs or its like, as package.module.Class.method'
        return Fault(where, f'a module of {package.__name__}', f'the class {name!r}', advice)
    modules = (found.name for found in pkgutil.iter_modules(getattr(package, '__path__', ())))
    return Fault(where, f'a module of {package.__name__}', repr(name), closest(name, modules))
