"""Follows every record through its connector into its loss, and works out the connectors that were left out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from kd_plugins.build import Declared, build_component, find_component
from kd_plugins.connectors import OUT_NAMES, channels_of, choose_connectors, complete_channels
from kd_plugins.distiller import AUTO, ConfigurableDistiller, LossSpec, RecordSpec, parts_of
from kd_plugins.errors import Fault, UserError, join_path
from kd_plugins.preflight.findings import Findings, LossTrace, SourceTrace
from kd_plugins.preflight.shapes import Shape, describe_shape, shape_of
from kd_plugins.registry import MODELS

DISTILLER = 'model.distiller'


class Tracer:
    """Runs a distiller step by step, after both models have run.

    Args:
        distiller: Built while drafting: without what is faulty, and without connectors that are left out.
        findings: Grows by what is found.
        image: Height and width of the images, in pixels; None where the inputs are no images.
        ran: The sides that ran to the end; what the other ones recorded says nothing.

    Attributes:
        edits: What makes the config explicit: value by key path below the distiller; None for what is to be removed.
    """

    def __init__(
        self,
        distiller: ConfigurableDistiller,
        findings: Findings,
        image: tuple[int, int] | None,
        ran: Collection[str] = ('student', 'teacher'),
    ) -> None:
        self.distiller = distiller
        self.spec = distiller.spec
        self.findings = findings
        self.image = image
        self.ran = ran
        self.records = distiller.pop_records()
        self.edits: dict[str, Any] = {}
        # explicit configs of the connectors that were worked out
        self.explicit: dict[str, list[Any]] = {}

    def run(self) -> dict[str, Any]:
        """Compute every loss that can be computed; returns them by name."""
        values = {}
        for mapping in self.spec.mappings:
            value = self._compute(mapping)
            if value is not None:
                values[mapping.name] = value
        return values

    def _compute(self, mapping: LossSpec) -> Any:
        picked = {argument: self._pick(record) for argument, record in mapping.arguments.items()}
        self._complete(mapping, picked)
        connected = {
            argument: self._connect(record, picked[argument]) for argument, record in mapping.arguments.items()
        }
        value = self._lose(mapping, connected)
        self.findings.losses.append(self._describe(mapping, picked, connected, value))
        return value

    def _pick(self, record: RecordSpec) -> Any:
        calls = self._calls(record)
        if calls is None:
            return None
        if not calls:
            self._refuse_idle(record)
            return None
        try:
            return record.pick(calls)
        except UserError as error:
            self._refuse(error, record.where)
            return None

    def _refuse_idle(self, record: RecordSpec) -> None:
        """A source that never ran is wrong itself, whoever uses its record."""
        declared = self._recorders(record)[record.recorder]
        source = declared.config.get('source')
        advice = 'choose a source that the forward runs: containers and unused modules never do'
        fault = Fault('source', 'a source that runs in the forward', f'{source!r}, which ran not once', advice)
        self._refuse(UserError(declared.blame(fault)))

    def _recorders(self, record: RecordSpec) -> Mapping[str, Declared]:
        return self.spec.student_recorders if record.from_student else self.spec.teacher_recorders

    def _calls(self, record: RecordSpec) -> list[Any] | None:
        return self.records[record.from_student].get(record.recorder) if record.side in self.ran else None

    def _connect(self, record: RecordSpec, data: Any) -> Any:
        if data is None:
            return None
        if record.connector is None and self._name_for(record) in self.explicit:
            record = replace(record, connector=self._name_for(record))
        if record.connector is not None and record.connector not in self.distiller.connectors:
            return data if record.connector in self.explicit else None
        if record.connector is not None and isinstance(data, (tuple, list, dict)):
            advice = 'choose an element of it with data_idx'
            got = f'a {type(data).__name__} {describe_shape(shape_of(data))}'
            fault = Fault(record.where, 'a tensor for the connector', got, advice)
            self._refuse(UserError(fault))
            return None
        try:
            return self.distiller.connect(record, data)
        except UserError as error:
            self._refuse(error)
        except Exception as error:
            where = self.spec.connectors[record.connector or ''].where
            got = f'{_name(error)} for {describe_shape(shape_of(data))}'
            self._refuse(UserError(Fault(where, 'a connector that takes the record', got, "write 'auto'")))
        return None

    def _lose(self, mapping: LossSpec, connected: Mapping[str, Any]) -> Any:
        loss = self._loss(mapping)
        if loss is None or not mapping.whole or any(value is None for value in connected.values()):
            return None
        where = self.spec.losses[mapping.name].where
        try:
            value = loss(**connected)
        except UserError as error:
            self._refuse(self._with_connectors(mapping.blame(error, where), mapping, connected))
            return None
        except Exception as error:
            shapes = ', '.join(f'{name} {describe_shape(shape_of(data))}' for name, data in connected.items())
            got = f'{_name(error)} for {shapes}'
            expected, advice = f'what {type(loss).__name__} takes', 'look at the sources and the arguments of the loss'
            self._refuse(self._with_connectors(UserError(Fault(where, expected, got, advice)), mapping, connected))
            return None
        if not isinstance(value, torch.Tensor):
            fault = Fault('', 'a loss that returns a tensor', f'a {type(value).__name__}', 'return the loss alone')
            self._refuse(UserError(fault), where)
            return None
        return value

    def _loss(self, mapping: LossSpec) -> Any:
        """The loss, or None where it could not be built."""
        return dict(self.distiller.distill_losses.items()).get(mapping.name)

    def _with_connectors(self, error: UserError, mapping: LossSpec, connected: Mapping[str, Any]) -> UserError:
        """Advise how to make the two tensors meet, where they do not."""
        if mapping.pair is None:
            return error
        student, teacher = (connected[name] for name in mapping.pair)
        if not (isinstance(student, torch.Tensor) and isinstance(teacher, torch.Tensor)):
            return error
        if student.shape == teacher.shape:
            return error
        advice = self._how_to_meet(mapping, tuple(student.shape), tuple(teacher.shape))
        return UserError(*(Fault(fault.where, fault.expected, fault.got, advice) for fault in error.faults))

    def _how_to_meet(self, mapping: LossSpec, student: Shape, teacher: Shape) -> str:
        argument = mapping.pair[0] if mapping.pair else ''
        record = mapping.arguments[argument]
        if len(student) == len(teacher) == 2 and argument.startswith('preds'):
            return 'the numbers of classes differ: give both heads the same num_classes'
        declared = self.spec.connectors.get(record.connector or '')
        if declared is not None:
            last, where = parts_of(declared.config, declared.where)[-1]
            keys = [key for key in OUT_NAMES if key in last] if isinstance(last, Mapping) else []
            if keys and len(student) == len(teacher) and channels_of(student) != channels_of(teacher):
                return f'set {keys[0]} of {where} to {channels_of(teacher)}, or leave it out'
            return f"the connector at {declared.where} gives another shape: write 'auto' there"
        try:
            own, theirs = choose_connectors(student, teacher, self.image)
        except UserError as refusal:
            return refusal.faults[0].advice
        chosen = ', '.join(map(describe_connector, [*own, *theirs]))
        if record.where.startswith('loss_forward_mappings'):
            name = f'{mapping.name}_{argument}'
            how = f"declare connectors=dict({name}='auto') and give {argument} connector={name!r}"
        else:
            how = "add connector='auto' to the loss"
        return f'{how}, which makes them meet with {chosen}'

    def _complete(self, mapping: LossSpec, picked: Mapping[str, Any]) -> None:
        """Work out the connectors of a loss that were left out, those of the teacher's side first."""
        student, teacher = mapping.pair or (None, None)
        for argument, record in sorted(mapping.arguments.items(), key=lambda item: item[1].from_student):
            if not self._is_left_out(record) or picked[argument] is None:
                continue
            if mapping.pair is None and not mapping.whole:
                continue
            other = {student: teacher, teacher: student}.get(argument)
            target = None
            if other is not None:
                target = self._connect(mapping.arguments[other], picked[other])
                if target is None and self._is_left_out(mapping.arguments[other]):
                    target = picked[other]
                if target is None:
                    continue
            try:
                if self.spec.connectors[record.connector or ''].config == AUTO:
                    self._choose(mapping, argument, other, picked[argument], target)
                else:
                    self._fill(record, picked[argument], target)
            except UserError as error:
                self._refuse(error, self.spec.connectors[record.connector or ''].where)

    def _is_left_out(self, record: RecordSpec) -> bool:
        return record.connector in self.distiller.left_out and record.connector not in self.explicit

    def _choose(self, mapping: LossSpec, argument: str, other: str | None, data: Any, target: Any) -> None:
        """Choose what ``'auto'`` stands for."""
        record = mapping.arguments[argument]
        if other is None or not record.from_student:
            expected = "'auto' at the student's tensor of a loss that compares two"
            raise UserError(Fault('', expected, f'at {argument}', 'write the connector out'))
        for name, value in ((argument, data), (other, target)):
            if not isinstance(value, torch.Tensor):
                got = f'{name} {describe_shape(shape_of(value))}'
                raise UserError(Fault('', 'two tensors', got, 'choose an element of it with data_idx'))
        own, theirs = choose_connectors(tuple(data.shape), tuple(target.shape), self.image)
        self._settle(record, own)
        if theirs:
            self._settle(mapping.arguments[other], theirs)

    def _fill(self, record: RecordSpec, data: Any, target: Any) -> None:
        """Complete the channels of the parts of a connector, each from what reaches it."""
        config = self.spec.connectors[record.connector or ''].config
        if not isinstance(data, torch.Tensor):
            got = describe_shape(shape_of(data))
            raise UserError(Fault('', 'a tensor', got, 'choose an element of it with data_idx'))
        out = channels_of(tuple(target.shape)) if isinstance(target, torch.Tensor) else None
        filled = []
        for part, where in parts_of(config, ''):
            kind = find_component(MODELS, part, where)
            part = complete_channels(kind, part, channels_of(tuple(data.shape)), out)
            with torch.no_grad():
                try:
                    data = build_component(MODELS, part, where)(data)
                except (RuntimeError, TypeError, ValueError) as error:
                    if isinstance(error, UserError):
                        raise
                    got, expected = _name(error), f'a connector for a record of {describe_shape(shape_of(data))}'
                    raise UserError(Fault(where, expected, got, "write 'auto'")) from error
            filled.append(part)
        self._settle(record, filled)

    def _settle(self, record: RecordSpec, configs: list[Any]) -> None:
        """Build the connectors that were worked out, and note how the config has to be edited."""
        declared = self.spec.connectors.get(record.connector or '')
        if declared is not None and record.connector and record.connector in self.distiller.connectors:
            # a teacher's connector that stands already, and tokens after it
            configs = [*(part for part, _ in parts_of(declared.config, '')), *configs]
        where = declared.where if declared is not None else join_path(record.where, 'connector')
        parts = [build_component(MODELS, config, where) for config in configs]
        name = record.connector or self._name_for(record)
        self.explicit[name] = configs
        if parts:
            self.distiller.connectors[name] = nn.Sequential(*parts) if len(parts) > 1 else parts[0]
        explicit = None if not configs else configs[0] if len(configs) == 1 else configs
        self.edits[where] = explicit
        self.findings.chosen[f'{DISTILLER}.{where}'] = explicit

    def _name_for(self, record: RecordSpec) -> str:
        return record.where.replace('.', '_')

    def _describe(
        self, mapping: LossSpec, picked: Mapping[str, Any], connected: Mapping[str, Any], value: Any
    ) -> LossTrace:
        loss = self._loss(mapping)
        weight = getattr(loss, 'loss_weight', None)
        weight = float(weight) if isinstance(weight, (int, float)) else None
        effective = None
        if value is not None and mapping.pair and hasattr(loss, 'effective_weight'):
            effective = float(loss.effective_weight(connected[mapping.pair[0]]))
        if weight is not None and effective is not None and effective != weight:
            where = f'{DISTILLER}.{self.spec.losses[mapping.name].where}.reduction'
            self.findings.warnings.append(
                Fault(
                    where,
                    f'a loss_weight that acts as the {weight:g} that it says',
                    f'{weight:g} that acts as {effective:g}, for the mean is over the classes too',
                    "reduction='batchmean' is the usual one; raise loss_weight where the mean is meant",
                )
            )
        sources = tuple(
            self._source(argument, record, picked[argument], connected[argument])
            for argument, record in mapping.arguments.items()
        )
        kind = type(loss).__name__ if loss is not None else '?'
        number = float(value.detach().float().mean()) if value is not None else None
        return LossTrace(mapping.name, kind, weight, effective, sources, number)

    def _source(self, argument: str, record: RecordSpec, data: Any, connected: Any) -> SourceTrace:
        config = self._recorders(record)[record.recorder].config
        calls = self._calls(record)
        return SourceTrace(
            argument=argument,
            side=record.side,
            source=describe_source(config, record),
            calls=len(calls) if calls is not None else None,
            shape=_shape(data),
            connector=self._describe_connector(record),
            connected=_shape(connected),
        )

    def _describe_connector(self, record: RecordSpec) -> str:
        name = record.connector or self._name_for(record)
        if name in self.explicit:
            return ', '.join(map(describe_connector, self.explicit[name]))
        if name not in self.spec.connectors:
            return ''
        return ', '.join(describe_connector(part) for part, _ in parts_of(self.spec.connectors[name].config, ''))

    def _refuse(self, error: UserError, where: str = '') -> None:
        self.findings.faults += error.within(join_path(DISTILLER, where)).faults


def describe_source(config: Any, record: RecordSpec) -> str:
    """What a recorder's config records, as ``backbone.layer4.1.relu (ModuleOutputs) [data_idx]``, short."""
    config = config if isinstance(config, Mapping) else {}
    source, kind = str(config.get('source', '?')), str(config.get('type', '')).rpartition('.')[2]
    text = source if kind.startswith('ModuleOutputs') else f'{source} ({kind})'
    text += '' if record.record_idx is None else f' call {record.record_idx}'
    return text + ('' if record.data_idx is None else f' element {record.data_idx}')


def describe_connector(config: Any) -> str:
    """A connector's config as ``ConvModuleConnector 256 to 1024``, short."""
    if not isinstance(config, Mapping):
        return str(config)
    kind = config.get('type')
    name = kind.rpartition('.')[2] if isinstance(kind, str) else getattr(kind, '__name__', str(kind))
    name = name.removesuffix('Connector') or name
    channels = [config[key] for key in config if str(key).startswith(('in_', 'out_')) and isinstance(config[key], int)]
    if len(channels) == 2:
        return f'{name} {channels[0]} to {channels[1]}'
    return f'{name} {describe_shape(tuple(config["size"]))}' if isinstance(config.get('size'), (tuple, list)) else name


def _shape(data: Any) -> Shape | None:
    return None if data is None else shape_of(data)


def _name(error: Exception) -> str:
    return f'{type(error).__name__}: {" ".join(str(error).split())[:200]}'
