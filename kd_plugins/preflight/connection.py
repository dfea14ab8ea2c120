"""Works out the connectors that a config leaves out, from the records that they are to make equal."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from kd_plugins.build import build_component, find_component
from kd_plugins.connectors import channels_of, choose_connectors, complete_channels, missing_channels
from kd_plugins.connectors.layout import SPATIAL_AXES, changed_axes, describe_axes, possible_axes
from kd_plugins.distiller import AUTO, ConfigurableDistiller, LossSpec, RecordSpec, parts_of
from kd_plugins.errors import Fault, UserError, describe_error, join_path
from kd_plugins.preflight.findings import Findings
from kd_plugins.preflight.shapes import describe_shape, shape_of
from kd_plugins.registry import MODELS


class Connection:
    """Sends records through their connectors, and works out those that were left out.

    Args:
        distiller: Built while drafting: without what is faulty, and without connectors that are left out. It gets those
            that are worked out.
        where: Key path of its config.
        findings: Grows by what is found.
        image: Height and width of the images, in pixels; None where the inputs are no images.
        enlarged: Gives the records of the same images at another size, as ``pop_records``; None where a model takes
            one size only. It is called at most once, where shapes alone leave open which axes are those of the image.

    Attributes:
        edits: What makes the config explicit: value by key path below the distiller; None for what is to be removed.
    """

    def __init__(
        self,
        distiller: ConfigurableDistiller,
        where: str,
        findings: Findings,
        image: tuple[int, int] | None,
        enlarged: Callable[[], Any],
    ) -> None:
        self.distiller = distiller
        self.where = where
        self.findings = findings
        self.image = image
        self.edits: dict[str, Any] = {}
        self._explicit: dict[str, list[Any]] = {}
        self._enlarged = functools.cache(enlarged)

    def configs(self, record: RecordSpec) -> list[Any]:
        """The connectors that a record passes in sequence, those that were worked out too."""
        name = record.connector or _name_for(record)
        if name in self._explicit:
            return self._explicit[name]
        declared = self.distiller.spec.connectors.get(name)
        return [] if declared is None else [part for part, _ in parts_of(declared.config, '')]

    def connect(self, record: RecordSpec, data: Any) -> Any:
        """Send a record through its connector; None where it cannot pass, which is noted, or has not been recorded."""
        if data is None:
            return None
        if record.connector is None and _name_for(record) in self._explicit:
            record = replace(record, connector=_name_for(record))
        if record.connector is not None and record.connector not in self.distiller.connectors:
            if record.connector not in self._explicit:
                return None
            record = replace(record, connector=None)  # it needs none
        try:
            return self.distiller.connect(record, data)
        except UserError as error:
            self._refuse(error)
        except Exception as error:
            if isinstance(data, (tuple, list, dict)):
                got = f'a {type(data).__name__} {describe_shape(shape_of(data))}'
                advice = 'choose an element of it with data_idx'
                self._refuse(UserError(Fault(record.where, 'a tensor for the connector', got, advice)))
                return None
            where = self.distiller.spec.connectors[record.connector or ''].where
            got = f'{describe_error(error)} for {describe_shape(shape_of(data))}'
            self._refuse(UserError(Fault(where, 'a connector that takes the record', got, "write 'auto'")))
        return None

    def complete(self, mapping: LossSpec, picked: Mapping[str, Any]) -> None:
        """Work out the connectors of a loss that were left out, those of the teacher's side first.

        Args:
            mapping: Of the loss.
            picked: Its records by argument; None where there is none.
        """
        student, teacher = mapping.pair or (None, None)
        for argument, record in sorted(mapping.arguments.items(), key=lambda item: item[1].from_student):
            if not self._is_left_out(record) or picked[argument] is None:
                continue
            shared = record.connector in self._explicit
            if shared and self.distiller.spec.connectors[record.connector or ''].config != AUTO:
                continue
            if mapping.pair is None and not mapping.whole:
                continue
            other = {student: teacher, teacher: student}.get(argument)
            target = None
            if other is not None:
                target = self.connect(mapping.arguments[other], picked[other])
                if target is None and self._is_left_out(mapping.arguments[other]):
                    target = picked[other]
                if target is None:
                    continue
            try:
                if self.distiller.spec.connectors[record.connector or ''].config == AUTO:
                    self._choose(mapping, argument, other, picked[argument], target)
                else:
                    self._fill(record, picked[argument], target)
            except UserError as error:
                self._refuse(error, self.distiller.spec.connectors[record.connector or ''].where)

    def choose(
        self, student: RecordSpec, data: torch.Tensor, teacher: RecordSpec, target: torch.Tensor
    ) -> tuple[list[Any], list[Any]]:
        """The connectors that make two records equal in shape, as :func:`choose_connectors` gives them.

        Args:
            student: The student's record, with the connector that ``data`` has passed.
            data: Its tensor.
            teacher: The teacher's record, likewise.
            target: Its tensor.

        Raises:
            UserError: There are none, or it is not certain which axes of a record are those of the image.
        """
        chosen: tuple[list[Any], list[Any]] | UserError
        try:
            chosen = choose_connectors(tuple(data.shape), tuple(target.shape), self.image)
        except UserError as error:
            chosen = error
        # ranks and batches that differ have advice of their own
        if chosen != ([], []) and {data.dim(), target.dim()} <= {3, 4} and len(data) == len(target):
            self._require_layout(student, data)
            self._require_layout(teacher, target)
        if isinstance(chosen, UserError):
            raise chosen
        return chosen

    def _require_layout(self, record: RecordSpec, data: torch.Tensor) -> None:
        """Refuse a record whose spatial axes are not, or may not be, where connectors look for them."""
        shape = tuple(data.shape)
        expected = SPATIAL_AXES.get(len(shape))
        if expected is None or self.image is None:
            return
        possible = possible_axes(shape, self.image)
        if possible == [expected]:
            return
        # a number of channels can form a grid by chance, so that tokens are believed only when they change
        if len(possible) != 1 or len(shape) == 3:
            changed = self._changed_axes(record, shape)
            possible = [changed] if len(changed) == len(expected) else possible
        # what is hardly ever anything but tokens, where the model takes one size only
        tokens = len(shape) == 3 and (not possible or expected in possible)
        if possible != [expected] and not tokens:
            raise UserError(_layout_fault(record, shape, possible, self.image))

    def _changed_axes(self, record: RecordSpec, shape: tuple[int, ...]) -> tuple[int, ...]:
        records = self._enlarged()
        if records is None:
            return ()
        try:
            other = self.distiller.connect(record, record.pick(records[record.from_student][record.recorder]))
        except (UserError, RuntimeError, TypeError, ValueError, KeyError):
            return ()  # a connector is for one size, or is not there yet
        return changed_axes(shape, tuple(other.shape)) if isinstance(other, torch.Tensor) else ()

    def _is_left_out(self, record: RecordSpec) -> bool:
        return record.connector in self.distiller.left_out

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
        own, theirs = self.choose(replace(record, connector=None), data, mapping.arguments[other], target)
        before = self._explicit.get(record.connector or '')
        if before is None:
            self._settle(record, own)
        elif before != own:
            got = f'{_describe_all(before)} for one and {_describe_all(own)} for {mapping.name}'
            expected = 'losses that need one and the same connector'
            raise UserError(Fault('', expected, got, "write connector='auto' into each loss instead of sharing it"))
        if theirs:
            self._settle(mapping.arguments[other], theirs)

    def _fill(self, record: RecordSpec, data: Any, target: Any) -> None:
        """Complete the channels of the parts of a connector, each from what reaches it."""
        config = self.distiller.spec.connectors[record.connector or ''].config
        if not isinstance(data, torch.Tensor):
            got = describe_shape(shape_of(data))
            raise UserError(Fault('', 'a tensor', got, 'choose an element of it with data_idx'))
        out = channels_of(tuple(target.shape)) if isinstance(target, torch.Tensor) else None
        filled: list[Any] = []
        for part, where in parts_of(config, ''):
            kind = find_component(MODELS, part, where)
            if not filled and missing_channels(kind, part):
                self._require_layout(replace(record, connector=None), data)
            part = complete_channels(kind, part, channels_of(tuple(data.shape)), out)
            with torch.no_grad():
                try:
                    data = build_component(MODELS, part, where)(data)
                except (RuntimeError, TypeError, ValueError) as error:
                    if isinstance(error, UserError):
                        raise
                    got, expected = (
                        describe_error(error),
                        f'a connector for a record of {describe_shape(shape_of(data))}',
                    )
                    raise UserError(Fault(where, expected, got, "write 'auto'")) from error
            filled.append(part)
        self._settle(record, filled)

    def _settle(self, record: RecordSpec, configs: list[Any]) -> None:
        """Build the connectors that were worked out, and note how the config has to be edited."""
        declared = self.distiller.spec.connectors.get(record.connector or '')
        if declared is not None and record.connector and record.connector in self.distiller.connectors:
            # a teacher's connector that stands already, and tokens after it
            configs = [*(part for part, _ in parts_of(declared.config, '')), *configs]
        where = declared.where if declared is not None else join_path(record.where, 'connector')
        parts = [build_component(MODELS, config, where) for config in configs]
        name = record.connector or _name_for(record)
        self._explicit[name] = configs
        if parts:
            self.distiller.connectors[name] = nn.Sequential(*parts) if len(parts) > 1 else parts[0]
        explicit = None if not configs else configs[0] if len(configs) == 1 else configs
        self.edits[where] = explicit
        self.findings.chosen[f'{self.where}.{where}'] = explicit

    def _refuse(self, error: UserError, where: str = '') -> None:
        self.findings.faults += error.within(join_path(self.where, where)).faults


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


def _layout_fault(
    record: RecordSpec, shape: tuple[int, ...], possible: list[tuple[int, ...]], image: tuple[int, int]
) -> Fault:
    expected = f'a record {describe_axes(SPATIAL_AXES[len(shape)], len(shape))}, whose spatial axes are certain'
    layouts = ' or '.join(describe_axes(axes, len(shape)) for axes in possible) or 'no layout that is known'
    got = f'{shape} of the {record.side}, for images of {image[0]} x {image[1]}: {layouts}'
    if len(shape) == 3:
        advice = 'record tokens (N, L, C), or write the connector out'
    elif len(possible) == 1:
        size = tuple(shape[axis] for axis in possible[0])
        flatten = "dict(type='TorchNNConnector', module_name='Flatten', module_args=dict(start_dim=1, end_dim=2))"
        to_map = f"dict(type='TokensToMapConnector', size={size})"
        advice = f'give that source connector=[{flatten}, {to_map}], which makes it (N, C, H, W)'
    else:
        advice = 'write the connector out, with its channels'
    return Fault('', expected, got, advice)


def _describe_all(configs: list[Any]) -> str:
    return ', '.join(map(describe_connector, configs)) or 'nothing'


def _name_for(record: RecordSpec) -> str:
    """Name of a connector that the config has no name for."""
    return record.where.replace('.', '_')
