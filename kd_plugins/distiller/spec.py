"""What a distiller's config says, frozen: neither form of the config is known behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kd_plugins.build import Declared
from kd_plugins.errors import Fault, UserError, join_path

AUTO = 'auto'
# keys under which an algorithm's config has distillers
DISTILLERS = ('distiller', 'generator_distiller')


@dataclass(frozen=True)
class RecordSpec:
    """Where one argument of a loss comes from.

    Attributes:
        recorder: Name of the recorder.
        from_student: Whether that is one of the student's recorders.
        record_idx: Which call of the source, from 0; None for the only one.
        data_idx: Which element, where a record is a tuple or a list; None for the whole.
        connector: Name of the connector that the record passes; None for none.
        connector_idx: Which element of what the connector returns; None for the whole.
        where: Key path in the distiller's config.
        source: What a message calls it, where a recorder's name was not written: the source itself.
        bare: Whether that is all that was written at ``where``.
    """

    recorder: str
    from_student: bool
    record_idx: int | None = None
    data_idx: int | None = None
    connector: str | None = None
    connector_idx: int | None = None
    where: str = field(default='', compare=False)
    source: str = field(default='', compare=False)
    bare: bool = field(default=False, compare=False)

    @property
    def key(self) -> tuple[str, int | None, int | None]:
        """What it is called where records do not come from recorders."""
        return self.recorder, self.record_idx, self.data_idx

    @property
    def side(self) -> str:
        """``'student'`` or ``'teacher'``."""
        return 'student' if self.from_student else 'teacher'

    def pick(self, records: list[Any]) -> Any:
        """Choose this record among those of its recorder, one per call of the source.

        Raises:
            UserError: There were too few calls, several and none was chosen, or the record has no element ``data_idx``.
        """
        return _element(records[self._call(len(records))], 'data_idx', self.data_idx, f'the record of {self._name!r}')

    def pick_connected(self, connected: Any) -> Any:
        """Choose among what the connector returned.

        Raises:
            UserError: It has no element ``connector_idx``.
        """
        return _element(connected, 'connector_idx', self.connector_idx, f'what the connector of {self._name!r} returns')

    @property
    def _name(self) -> str:
        return self.source or self.recorder

    def _call(self, calls: int) -> int:
        if self.record_idx is None and calls == 1:
            return 0
        if self.record_idx is not None and -calls <= self.record_idx < calls:
            return self.record_idx
        if self.record_idx is None and calls:
            expected = f'the number of one of the {calls} calls of the source of {self._name!r}'
            advice = 'the last call is usually the output of its block'
            if self.bare:
                advice = f'write dict(source={self._name!r}, record_idx={calls - 1}): {advice}'
                raise UserError(Fault('', expected, repr(self._name), advice))
            advice = f'add record_idx=0 to record_idx={calls - 1}: {advice}'
            raise UserError(Fault('record_idx', expected, 'none', advice))
        wanted = '' if self.record_idx is None else f'record_idx={self.record_idx}, but '
        raise UserError(
            Fault(
                'record_idx',
                f'a call of {self._name!r} that happened',
                f'{wanted}its source ran {_times(calls)} in this forward',
                f'use a record_idx from 0 to {calls - 1}'
                if calls
                else 'choose a source that the forward runs: containers and unused modules never do',
            )
        )


@dataclass(frozen=True)
class LossSpec:
    """One distill loss and the records of its arguments.

    Attributes:
        name: Key in ``distill_losses``; the name in the log.
        arguments: Record by argument of the loss's ``forward``.
        pair: The two arguments that are compared, the student's first; None where there is no such pair.
        whole: Whether the config says it without a fault.
    """

    name: str
    arguments: Mapping[str, RecordSpec]
    pair: tuple[str, str] | None = field(default=None, compare=False)
    whole: bool = field(default=True, compare=False)

    def blame(self, error: UserError, where: str) -> UserError:
        """What the loss refuses, under the key path of the argument that is meant, or of the loss.

        Args:
            error: Raised by the loss.
            where: Key path of the loss.
        """
        records = self.arguments
        return UserError(
            *(
                replace(
                    fault, where=records[fault.where].where if fault.where in records else join_path(where, fault.where)
                )
                for fault in error.faults
            )
        )


@dataclass(frozen=True)
class DistillerSpec:
    """Everything that a distiller is made of, by name.

    Attributes:
        student_recorders: Recorders of the student.
        teacher_recorders: Recorders of the teacher.
        deliveries: What is carried from the teacher's forward into the student's.
        connectors: Connectors; the config is a dict, a list of them, or ``'auto'``.
        losses: Distill losses.
        mappings: What feeds which loss.
    """

    student_recorders: Mapping[str, Declared]
    teacher_recorders: Mapping[str, Declared]
    deliveries: Mapping[str, Declared]
    connectors: Mapping[str, Declared]
    losses: Mapping[str, Declared]
    mappings: tuple[LossSpec, ...]


def _element(whole: Any, key: str, index: int | None, name: str) -> Any:
    if index is None:
        return whole
    if not isinstance(whole, (tuple, list)) or not -len(whole) <= index < len(whole):
        size = f'with {len(whole)} elements' if isinstance(whole, (tuple, list)) else 'without elements to choose'
        got = f'{key}={index} of a {type(whole).__name__} {size}'
        advice = f'correct {key}, or leave it out for the whole record'
        raise UserError(Fault(key, f'an element of {name}', got, advice))
    return whole[index]


def _times(count: int) -> str:
    return {0: 'not once', 1: 'once', 2: 'twice'}.get(count, f'{count} times')
