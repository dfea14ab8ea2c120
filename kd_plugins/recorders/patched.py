"""Recorder that puts a function of its own in the place of another while it is entered."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from abc import abstractmethod
from collections.abc import Callable, Mapping
from types import FunctionType, ModuleType, TracebackType
from typing import Any

from torch import nn

from kd_plugins.errors import Fault, UserError, closest
from kd_plugins.recorders.recorder import Recorder


class Patched(Recorder):
    """Records the calls of a function that is looked up by name, in a module or in a class.

    The function is replaced while the recorder is entered and is put back on leaving. Recorders of one function may
    be nested; they are left in the reverse order of entering. What is replaced belongs to all models that use it, so a
    recorder is entered around the forward of its own model only.

    Args:
        source: Dotted path of the function; its form belongs to the subclass.
    """

    def __init__(self, source: str) -> None:
        super().__init__(source)
        # neither modules nor functions are kept, so that a recorder can be copied and pickled
        self._attached = False
        self._depth = 0
        self._restore: Callable[[], None] | None = None

    def attach(self, model: nn.Module) -> None:
        """Resolve ``source``, which is not looked for in ``model``; nothing is replaced before entering.

        Raises:
            UserError: There is no such function; the closest names are given.
        """
        self._find()
        self.detach()
        self._attached = True

    def detach(self) -> None:
        """Put the function back, if it is replaced, and record no more."""
        self._attached = False
        self._unpatch()

    def __enter__(self) -> Recorder:
        if self._attached and not self._depth:
            self._patch()
        self._depth += 1
        return super().__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(exc_type, exc_value, traceback)
        self._depth -= 1
        if not self._depth:
            self._unpatch()

    @abstractmethod
    def _find(self) -> tuple[ModuleType | type, str, FunctionType]:
        """The module or class that ``source`` names, the name in it, and the function that is there now."""

    def _record(self, function: FunctionType, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> Any:
        """What is kept of a call."""
        return output

    def _patch(self) -> None:
        owner, name, function = self._find()

        @functools.wraps(function)
        def record(*args: Any, **kwargs: Any) -> Any:
            output = function(*args, **kwargs)
            if self.recording:
                self._records.append(self._record(function, args, kwargs, output))
            return output

        # a method may be inherited
        own = name in vars(owner)
        setattr(owner, name, record)
        self._restore = (lambda: setattr(owner, name, function)) if own else (lambda: delattr(owner, name))

    def _unpatch(self) -> None:
        restore, self._restore = self._restore, None
        if restore is not None:
            restore()


def bound_arguments(function: FunctionType, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """The positional arguments of a call, then those given by keyword in the order of the signature.

    Defaults are not filled in, and keywords that only a ``**kwargs`` takes are left out.
    """
    if not kwargs:
        return args
    return (*args, *(kwargs[name] for name in inspect.signature(function).parameters if name in kwargs))


def split_source(source: str, form: str) -> list[str]:
    """Split a dotted path into its module and as many further names as ``form`` has after ``module``.

    Args:
        source: What the user wrote.
        form: How it is written, e.g. ``'package.module.Class.method'``.

    Raises:
        UserError: The path is too short, or no path.
    """
    count = len(form.split('.')) - 2  # package and module
    parts = str(source).split('.')
    if len(parts) <= count or not all(part.isidentifier() for part in parts):
        raise UserError(Fault('source', f'a path of the form {form}', repr(source), 'write the whole path'))
    return ['.'.join(parts[:-count]), *parts[-count:]]


def import_path(path: str) -> ModuleType:
    """Import a module, one package after the other.

    Raises:
        UserError: There is no such module, or importing it fails.
    """
    package, _, name = path.rpartition('.')
    parent = import_path(package) if package else None
    try:
        return importlib.import_module(path)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == path:
            raise UserError(_unknown_module(parent, name)) from error
        got = f'{path!r}, which fails with {type(error).__name__}: {error}'
        raise UserError(Fault('source', 'a module that imports', got, 'install or mend what it needs')) from error


def require_function(value: Any, name: str, expected: str, members: Mapping[str, Any]) -> FunctionType:
    """Return ``value`` if it is a function that was defined in Python.

    Args:
        value: What was found under ``name``, None for nothing.
        name: Name of the function.
        expected: What it should have been, for the message.
        members: What else is there, by name.

    Raises:
        UserError: It is none; the closest names are given.
    """
    if isinstance(value, FunctionType):
        return value
    got = repr(name) if value is None else f'{name!r}, a {type(value).__name__}'
    functions = (member for member, found in members.items() if isinstance(found, FunctionType))
    raise UserError(Fault('source', expected, got, closest(name, functions)))


def _unknown_module(package: ModuleType | None, name: str) -> Fault:
    if package is None:
        modules = (found.name for found in pkgutil.iter_modules())
        return Fault('source', 'an installed package', repr(name), closest(name, modules))
    if isinstance(getattr(package, name, None), type):
        advice = 'a method is recorded by MethodOutputs or MethodInputs, as package.module.Class.method'
        return Fault('source', f'a module of {package.__name__}', f'the class {name!r}', advice)
    modules = (found.name for found in pkgutil.iter_modules(getattr(package, '__path__', ())))
    return Fault('source', f'a module of {package.__name__}', repr(name), closest(name, modules))
