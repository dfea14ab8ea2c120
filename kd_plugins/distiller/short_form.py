"""The short form of a distiller's config: each loss names its sources, and its connector, in place."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from kd_plugins.build import Declared, find_component, parameters_of
from kd_plugins.distiller.long_form import pair_of
from kd_plugins.distiller.loss_arguments import LossArguments, index_faults
from kd_plugins.distiller.spec import AUTO, LossSpec, RecordSpec
from kd_plugins.errors import Fault, Faults, UserError, closest, join_path
from kd_plugins.registry import TASK_UTILS

SIDES = ('student', 'teacher')
KEYS = (*SIDES, 'connector')
RECORD_KEYS = ('record_idx', 'data_idx', 'connector', 'connector_idx')
SOURCE_FORM = "a module path, or dict(source='…', record_idx=…, data_idx=…, type='ModuleInputs', …)"


class ShortForm:
    """Reads losses in the short form; what they declare in place goes to what was declared by name.

    Args:
        recorders: The student's (True) and the teacher's (False) recorders by name; grows.
        connectors: By name; grows.
        faults: Where the faults go, each under its key path from ``distill_losses`` on.
    """

    def __init__(
        self, recorders: Mapping[bool, dict[str, Declared]], connectors: dict[str, Declared], faults: Faults
    ) -> None:
        self.recorders = recorders
        self.connectors = connectors
        self.faults = faults

    def read(self, name: str, config: Mapping[str, Any], arguments: LossArguments) -> LossSpec:
        """Read the short form's keys of one loss.

        Args:
            name: Of the loss.
            config: Its whole config.
            arguments: Of its ``forward``.

        Returns:
            The records that have no fault.
        """
        where = f'distill_losses.{name}'
        compared = dict(zip(SIDES, arguments.compared, strict=True))
        sources: dict[str, tuple[str, Any, str]] = {}
        before = len(self.faults)
        for side in SIDES:
            for argument, source, place in self._sources(config.get(side), side, compared[side], arguments, where):
                if argument in sources:
                    advice = 'remove one of the two'
                    self.faults.append(Fault(place, f'one source of {argument}', 'two', advice))
                sources[argument] = side, source, place
        if len(self.faults) == before:
            self.faults += arguments.faults(sources, where, lambda missing: _how_to_feed(missing, compared))
        of_loss = 'student', compared['student']
        records = {
            argument: self._record(
                name, argument, side, source, place, config.get('connector') if (side, argument) == of_loss else None
            )
            for argument, (side, source, place) in sources.items()
        }
        good = {argument: record for argument, record in records.items() if record is not None}
        if config.get('connector') is not None and len(self.faults) == before:
            self._connect(good, compared['student'], config['connector'], name)
        return LossSpec(name, good, pair_of(good, arguments), whole=len(self.faults) == before)

    def _sources(
        self, given: Any, side: str, compared: str | None, arguments: LossArguments, where: str
    ) -> list[tuple[str, Any, str]]:
        """The sources of one side: argument, source and key path of each."""
        where = join_path(where, side)
        if given is None:
            return []
        if isinstance(given, Mapping) and 'source' not in given and any(key in given for key in ('type', *RECORD_KEYS)):
            given = self._with_source(given, where)
        if isinstance(given, str) or (isinstance(given, Mapping) and 'source' in given):
            if compared is None:
                got = f'none for the {side}: it takes {", ".join(arguments.names) or "no argument"}'
                advice = f"name it: {side}=dict(ARGUMENT='…')"
                self.faults.append(Fault(where, f'an argument of {arguments.loss}.forward', got, advice))
                return []
            return [(compared, given, where)]
        if given is None:
            return []
        if not isinstance(given, Mapping) or not given:
            self.faults.append(Fault(where, SOURCE_FORM, repr(given), "write for instance 'backbone.layer4'"))
            return []
        unknown = [key for key in given if key not in arguments.names and not arguments.open_ended]
        for key in unknown:
            advice = closest(str(key), [*arguments.names, 'source'])
            expected = f'the key source, or an argument of {arguments.loss}.forward'
            self.faults.append(Fault(join_path(where, str(key)), expected, repr(key), advice))
        return [
            (argument, source, join_path(where, argument))
            for argument, source in given.items()
            if argument not in unknown
        ]

    def _with_source(self, given: Mapping[str, Any], where: str) -> Mapping[str, Any] | None:
        """A source in full whose key source is misspelt, as it was meant; None where there is none like it."""
        near = difflib.get_close_matches('source', [str(key) for key in given if key not in ('type', *RECORD_KEYS)], 1)
        if not near:
            got = f'one with {", ".join(map(str, given))}'
            self.faults.append(Fault(where, 'a dict with the key source', got, "add source='MODULE'"))
            return None
        self.faults.append(Fault(join_path(where, near[0]), 'the key source', repr(near[0]), "did you mean 'source'?"))
        return {'source' if key == near[0] else key: value for key, value in given.items()}

    def _record(
        self, name: str, argument: str, side: str, source: Any, where: str, connector: Any
    ) -> RecordSpec | None:
        if isinstance(source, str):
            source, bare = dict(source=source), 'source'
        elif isinstance(source, Mapping) and 'source' in source:
            bare = ''
        else:
            self.faults.append(Fault(where, SOURCE_FORM, repr(source), "write for instance 'backbone.layer4'"))
            return None
        source = meant(source, RECORD_KEYS, self._recorder_arguments(source), where, self.faults)
        found = index_faults(source, where, connector)
        if found:
            self.faults += found
            return None
        recorder = {key: value for key, value in source.items() if key not in RECORD_KEYS}
        own = self.recorders[side == 'student']
        key = _free(f'{name}.{argument}', own)
        own[key] = Declared({'type': 'ModuleOutputs', **recorder}, where, bare)
        record = RecordSpec(
            recorder=key,
            from_student=side == 'student',
            record_idx=source.get('record_idx'),
            data_idx=source.get('data_idx'),
            connector_idx=source.get('connector_idx'),
            where=where,
            source=str(source['source']),
            bare=bool(bare),
        )
        return self._with_connector(
            record, source.get('connector'), f'{name}_{argument}', join_path(where, 'connector')
        )

    def _recorder_arguments(self, source: Mapping[str, Any]) -> list[str]:
        try:
            kind = find_component(TASK_UTILS, {'type': 'ModuleOutputs', **source}, '')
        except UserError:
            return list(source)
        return [parameter.name for parameter in parameters_of(kind)[0]]

    def _connect(self, records: dict[str, RecordSpec], argument: str | None, connector: Any, name: str) -> None:
        """Give the loss's connector to its student's tensor."""
        where = f'distill_losses.{name}.connector'
        record = records.get(argument or '')
        if record is None or not record.from_student:
            expected = 'a student source whose tensor it shall convert'
            self.faults.append(Fault(where, expected, 'none', 'add student=…, or write the connector into its source'))
        elif record.connector is not None:
            self.faults.append(Fault(where, 'one connector', 'another in the source', 'remove one of the two'))
        else:
            records[argument or ''] = self._with_connector(record, connector, f'{name}_{argument}', where)

    def _with_connector(self, record: RecordSpec, connector: Any, name: str, where: str) -> RecordSpec:
        if connector is None:
            return record
        if isinstance(connector, str) and connector != AUTO:
            if connector not in self.connectors:
                advice = closest(connector, [*self.connectors, AUTO])
                self.faults.append(Fault(where, "'auto', or a name in connectors", repr(connector), advice))
                return record
        elif isinstance(connector, (str, Mapping, list, tuple)):
            name = _free(name, self.connectors)
            self.connectors[name] = Declared(connector, where)
            connector = name
        else:
            expected = "'auto', a dict(type=…), a list of them, or a name in connectors"
            self.faults.append(Fault(where, expected, repr(connector), "write 'auto'"))
            return record
        return replace(record, connector=connector)


def meant(
    config: Mapping[str, Any], keys: Collection[str], known: Collection[str], where: str, faults: Faults
) -> dict[str, Any]:
    """A dict whose misspelt keys are put right, each noted as a fault.

    Args:
        config: The dict.
        keys: Those that may be meant.
        known: Those that are something else.
        where: Key path of ``config``.
        faults: Grows by the misspelt ones.
    """
    right: dict[str, Any] = {}
    for key, value in config.items():
        near = [] if key in keys or key in (*known, 'type') else difflib.get_close_matches(str(key), keys, 1, 0.75)
        if near:
            expected = f'a key of it, such as {near[0]}'
            faults.append(Fault(join_path(where, str(key)), expected, repr(key), f'did you mean {near[0]!r}?'))
        fits = not near or not near[0].endswith('_idx') or isinstance(value, int)
        if fits and (not near or near[0] not in config):
            right[near[0] if near else key] = value
    return right


def is_short(config: Any) -> bool:
    """Whether the config of a loss names its sources in place."""
    return isinstance(config, Mapping) and any(key in config for key in KEYS)


def _how_to_feed(argument: str, compared: Mapping[str, str | None]) -> str:
    for side, name in compared.items():
        if name == argument:
            return f"add {side}='MODULE'"
    return f'add it to the side that it comes from, as in student=dict({argument}=…)'


def _free(name: str, taken: Mapping[str, Any]) -> str:
    while name in taken:
        name += '_'
    return name
