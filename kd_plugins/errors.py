"""What a user did wrong, said once: where, expected, got, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, TypeVar

P = ParamSpec('P')
T = TypeVar('T')
_drafting: ContextVar[bool] = ContextVar('drafting', default=False)


@dataclass(frozen=True)
class Fault:
    """One mistake in a config, a file or a call.

    Attributes:
        where: Key path in the config (``model.distiller.…``), or the file.
        expected: What would have been right.
        got: What was found instead.
        advice: What to do about it.
    """

    where: str
    expected: str
    got: str
    advice: str

    def within(self, path: str) -> Fault:
        """The same fault, seen from further out: ``path`` is put before ``where``."""
        return replace(self, where=join_path(path, self.where))

    def __str__(self) -> str:
        place = f'{self.where}: ' if self.where else ''
        return f'{place}expected {self.expected}, got {self.got}; {self.advice}'


class UserError(ValueError):
    """One or more faults that only the user can mend.

    Command lines print it without a traceback and exit with status 2; every other exception is a bug of ours.

    Args:
        faults: At least one fault, most important first.
    """

    def __init__(self, *faults: Fault) -> None:
        super().__init__('\n'.join(map(str, faults)))
        self.faults = faults

    def within(self, path: str) -> UserError:
        """The same faults, seen from further out: ``path`` is put before each ``where``."""
        return UserError(*(fault.within(path) for fault in self.faults))


def format_user_error(error: UserError) -> str:
    """The faults as they are shown: one block each."""
    blocks = [
        f'error: {fault.where}\n  expected: {fault.expected}\n  got:      {fault.got}\n  to do:    {fault.advice}'
        for fault in error.faults
    ]
    return '\n'.join(blocks)


@contextmanager
def drafting() -> Iterator[None]:
    """Inside, components are built as far as they go and keep their faults in an attribute ``faults``.

    So the preflight finds all that is wrong with a config at once. Outside, a fault is raised where it is found.
    """
    token = _drafting.set(True)
    try:
        yield
    finally:
        _drafting.reset(token)


class Faults(list[Fault]):
    """Faults found while something is built."""

    def attempt(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Call ``function``; note the faults that it raises and return None then."""
        try:
            return function(*args, **kwargs)
        except UserError as error:
            self.extend(error.faults)
            return None

    def adopt(self, component: Any, path: str) -> None:
        """Note what a component that was built while drafting has in its ``faults``."""
        self.extend(fault.within(path) for fault in getattr(component, 'faults', ()))

    def settle(self) -> tuple[Fault, ...]:
        """Raise the faults, if any; while drafting, return them.

        Raises:
            UserError: With every fault, outside of :func:`drafting`.
        """
        if self and not _drafting.get():
            raise UserError(*self)
        return tuple(dict.fromkeys(self))


def is_drafting() -> bool:
    """Whether the caller runs inside :func:`drafting`."""
    return _drafting.get()


def describe_error(error: BaseException, length: int = 300) -> str:
    """An exception as one line: its class and what it says, at most ``length`` characters of it."""
    return f'{type(error).__name__}: {" ".join(str(error).split())[:length]}'


def join_path(*parts: str) -> str:
    """Join key paths of a config, leaving out empty parts: ``('model', '', 'head') -> 'model.head'``."""
    return '.'.join(part for part in parts if part)


def closest(name: str, candidates: Iterable[str], count: int = 3) -> str:
    """The names most like ``name``, ready to be put into an advice.

    Args:
        name: What the user wrote.
        candidates: The names that exist.
        count: How many to name at most.

    Returns:
        ``"did you mean 'a' or 'b'?"``, or a line that lists the first few names where none is similar; never
        ``name`` itself.
    """
    candidates = sorted(set(candidates) - {name})
    if not candidates:
        return 'there are none to choose from'
    last = name.rsplit('.', 1)[-1]
    same_ending = [candidate for candidate in candidates if candidate.rsplit('.', 1)[-1] == last and '.' in candidate]
    near = difflib.get_close_matches(name, candidates, n=count, cutoff=0.6)
    near += difflib.get_close_matches(name, same_ending, n=count, cutoff=0.3)
    if not near:
        near = difflib.get_close_matches(name, candidates, n=count, cutoff=0.4)
    near = list(dict.fromkeys(near))[:count]
    if near:
        return f'did you mean {" or ".join(map(repr, near))}?'
    return f'choose one of {", ".join(candidates[:12])}{", …" if len(candidates) > 12 else ""}'
