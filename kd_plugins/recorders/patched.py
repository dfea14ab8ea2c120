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
    def _find(self) -> Place:
        """Where the function that ``source`` names is looked up."""

    def _record(self, function: FunctionType, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> Any:
        """What is kept of a call."""
        return output

    def _patch(self) -> None:
        place = self._find()
        _, _, function = place

        def record(*args: Any, **kwargs: Any) -> Any:
            output = function(*args, **kwargs)
            if self.recording:
                self._keep(self._record(function, args, kwargs, output))
            return output

        self._restore = place.replace(record)

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
