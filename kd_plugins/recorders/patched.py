"""Recorder that puts a function of its own in the place of another while it is entered."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping
from types import FunctionType, TracebackType
from typing import Any

from torch import nn

from kd_plugins.recorders.lookup import Place
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
        self._attached = False
        self._depth = 0
        self._restore: Callable[[], None] | None = None
        # what was replaced last, and what took its place
        self._wrapped: tuple[Callable[..., Any], Callable[..., Any]] | None = None

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
    def _find(self) -> Place:
        """Where the function that ``source`` names is looked up."""

    def _record(self, names: tuple[str, ...], args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> Any:
        """What is kept of a call; ``names`` are the arguments of the function in the order of its signature."""
        return output

    def __getstate__(self) -> dict[str, Any]:
        """Leave functions out, so that a recorder can be copied and pickled."""
        return {**self.__dict__, '_wrapped': None}

    def _patch(self) -> None:
        place = self._find()
        _, _, function = place
        if self._wrapped is None or self._wrapped[0] is not function:
            self._wrapped = function, self._wrap(function)
        # the same one in each step: torch.compile would compile a new one again
        self._restore = place.replace(self._wrapped[1])

    def _wrap(self, function: FunctionType) -> Callable[..., Any]:
        # not looked up in a call, which torch.compile may be tracing
        names = tuple(inspect.signature(function).parameters)

        def record(*args: Any, **kwargs: Any) -> Any:
            output = function(*args, **kwargs)
            if self.recording:
                self._keep(self._record(names, args, kwargs, output))
            return output

        return record

    def _unpatch(self) -> None:
        restore, self._restore = self._restore, None
        if restore is not None:
            restore()


def bound_arguments(names: tuple[str, ...], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """The positional arguments of a call, then those given by keyword in the order of the signature.

    Defaults are not filled in, and keywords that only a ``**kwargs`` takes are left out.
    """
    if not kwargs:
        return args
    return (*args, *(kwargs[name] for name in names if name in kwargs))
