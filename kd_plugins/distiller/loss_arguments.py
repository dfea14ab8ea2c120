"""The arguments of a loss, and which two of them are compared."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any

from kd_plugins.errors import Fault, closest, join_path

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class LossArguments:
    """What the ``forward`` of a loss takes.

    Args:
        loss: The class of the loss.
    """

    def __init__(self, loss: Callable[..., Any]) -> None:
        self.loss = getattr(loss, '__name__', type(loss).__name__)
        parameters = list(inspect.signature(getattr(loss, 'forward', loss)).parameters.values())
        named = [parameter for parameter in parameters if parameter.kind not in _VARIADIC and parameter.name != 'self']
        self.names = [parameter.name for parameter in named]
        self.required = [parameter.name for parameter in named if parameter.default is parameter.empty]
        self.open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)

    @property
    def compared(self) -> tuple[str | None, str | None]:
        """The argument of the student's tensor and that of the teacher's.

        Their names tell, as ``preds_S`` and ``t_feature`` do; where they do not, the student's comes first.
        """
        student = next((name for name in self.names if _is_of(name, 'student')), None)
        teacher = next((name for name in self.names if _is_of(name, 'teacher')), None)
        rest = [name for name in self.names if name not in (student, teacher)]
        if student is None and rest:
            student = rest.pop(0)
        if teacher is None and rest:
            teacher = rest.pop(0)
        return student, teacher

    def faults(self, given: Collection[str], where: str, how_to_feed: Callable[[str], str]) -> list[Fault]:
        """Hold the arguments that a config feeds against those of the loss.

        Args:
            given: Names of the arguments that are fed.
            where: Key path of the dict that feeds them.
            how_to_feed: What to do about a missing one, by its name.
        """
        unknown = [
            Fault(join_path(where, key), f'an argument of {self.loss}.forward', repr(key), closest(key, self.names))
            for key in given
            if key not in self.names and not self.open_ended
        ]
        return unknown + [
            Fault(where, f'a record for {name} of {self.loss}', 'none', how_to_feed(name))
            for name in self.required
            if name not in given
        ]


def index_faults(record: Any, where: str, connector: Any = None) -> list[Fault]:
    """Refuse an index that is no whole number, and a ``connector_idx`` where there is no connector.

    Args:
        record: The dict with ``record_idx``, ``data_idx``, ``connector`` and ``connector_idx``.
        where: Its key path.
        connector: What the record passes where it names none itself.
    """
    faults = [
        Fault(join_path(where, key), 'a whole number', repr(record[key]), 'correct it')
        for key in ('record_idx', 'data_idx', 'connector_idx')
        if record.get(key) is not None and (not isinstance(record[key], int) or isinstance(record[key], bool))
    ]
    if record.get('connector_idx') is not None and record.get('connector') is None and connector is None:
        got, advice = f'connector_idx={record["connector_idx"]!r}', 'an element of the record itself is data_idx'
        faults.append(Fault(join_path(where, 'connector_idx'), 'a connector that returns several', got, advice))
    return faults


def _is_of(name: str, side: str) -> bool:
    initial = side[0]
    return name.startswith((f'{initial}_', side)) or name.lower().endswith((f'_{initial}', f'_{side}'))
