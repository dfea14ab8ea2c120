"""The distiller that a config describes: records through connectors into losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import nn

from kd_plugins.build import Declared, build_component, find_component
from kd_plugins.connectors import IN_NAMES, channels_of, missing_channels
from kd_plugins.deliveries import DeliverySet
from kd_plugins.distiller.reading import read_config
from kd_plugins.distiller.spec import AUTO, DistillerSpec, LossSpec, RecordSpec
from kd_plugins.errors import Fault, Faults, UserError, is_drafting, join_path
from kd_plugins.recorders import RecorderSet
from kd_plugins.registry import MODELS


@MODELS.register_module()
class ConfigurableDistiller(BaseModule):
    """Maps what was recorded in both models through connectors into distill losses.

    In the long form, the keys and their meaning are MMRazor's. In the short form, a loss names its sources itself.

    Args:
        student_recorders: Recorder config by name.
        teacher_recorders: Recorder config by name.
        distill_deliveries: Delivery config by name: what a function returns in the teacher's forward, it returns in the
            student's as well.
        connectors: By name, a connector config, or a list of them, which are passed in sequence.
        distill_losses: Loss config by name. The name stands in the log and must contain ``loss`` for the loss to be
            trained. Short form: ``student`` and ``teacher`` are each a source, or a dict of sources by argument of the
            loss; ``connector`` is for the student's tensor. A source is a module path, or a dict with ``source``, the
            recorder's ``type`` (``ModuleOutputs`` by default) and arguments, ``record_idx``, ``data_idx``,
            ``connector``, ``connector_idx``.
        loss_forward_mappings: Long form: by loss, by argument of the loss: ``dict(recorder=…, from_student=…,
            record_idx=None, data_idx=None, connector=None, connector_idx=None)``.
        init_cfg: Initialisation of mmengine, for the connectors.

    Attributes:
        spec: What the config says, frozen.
        skipped_losses: Names of the losses that are not computed at present, none at first.
        left_out: Names of the connectors that the preflight has to work out, empty unless built for it.
        faults: What is wrong with it, empty unless built inside :func:`kd_plugins.errors.drafting`.

    Raises:
        UserError: With every fault found in these dicts.
    """

    def __init__(
        self,
        student_recorders: Mapping[str, Any] | None = None,
        teacher_recorders: Mapping[str, Any] | None = None,
        distill_deliveries: Mapping[str, Any] | None = None,
        connectors: Mapping[str, Any] | None = None,
        distill_losses: Mapping[str, Any] | None = None,
        loss_forward_mappings: Mapping[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.spec: DistillerSpec
        self.spec, faults = read_config(
            student_recorders, teacher_recorders, connectors, distill_losses, loss_forward_mappings, distill_deliveries
        )
        self.student_recorders = faults.attempt(RecorderSet, self.spec.student_recorders) or RecorderSet({})
        self.teacher_recorders = faults.attempt(RecorderSet, self.spec.teacher_recorders) or RecorderSet({})
        faults.adopt(self.student_recorders, '')
        faults.adopt(self.teacher_recorders, '')
        self.deliveries = faults.attempt(DeliverySet, self.spec.deliveries) or DeliverySet({})
        faults.adopt(self.deliveries, '')
        self.connectors = nn.ModuleDict()
        self.left_out = _left_out(self.spec.connectors, faults)
        for name, declared in self.spec.connectors.items():
            connector = None if name in self.left_out else faults.attempt(_build_connector, declared)
            if connector is not None:
                self.connectors[name] = connector
                faults.adopt(connector, declared.where)
        self.distill_losses = nn.ModuleDict()
        for name, declared in self.spec.losses.items():
            loss = faults.attempt(build_component, MODELS, declared.config, declared.where)
            if loss is not None:
                self.distill_losses[name] = loss
                faults.adopt(loss, declared.where)
        self.skipped_losses: frozenset[str] = frozenset()
        self.faults = faults.settle()

    def prepare_from_student(self, model: nn.Module) -> tuple[Fault, ...]:
        """Attach the student's recorders to ``model``; returns the faults while drafting."""
        return self.student_recorders.attach(model)

    def prepare_from_teacher(self, model: nn.Module) -> tuple[Fault, ...]:
        """Attach the teacher's recorders to ``model``; returns the faults while drafting."""
        return self.teacher_recorders.attach(model)

    def detach(self) -> None:
        """Detach all recorders: both models are as if they had never been recorded."""
        self.student_recorders.detach()
        self.teacher_recorders.detach()

    def pop_records(self) -> dict[bool, dict[str, list[Any]]]:
        """What the last forwards left in the student's (True) and the teacher's (False) recorders, which forget it."""
        return {True: self.student_recorders.pop(), False: self.teacher_recorders.pop()}

    def compute_distill_losses(self, cached: Mapping[Any, torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
        """Compare what the last forwards left in the recorders, which forget it.

        Args:
            cached: The teacher's records by :attr:`RecordSpec.key`, where its recorders have none.

        Returns:
            The losses by name, each a scalar unless its reduction is ``'none'``.

        Raises:
            UserError: A record is not there, or two tensors do not meet in a loss.
        """
        records = self.pop_records()
        wanted = [spec for spec in self.spec.mappings if spec.name not in self.skipped_losses]
        return {spec.name: self._compare(spec, records, cached) for spec in wanted}

    def connect(self, record: RecordSpec, data: Any) -> Any:
        """Send a record through its connector, where it has one.

        Raises:
            UserError: The connector cannot take it, or returns no element ``connector_idx``.
        """
        if record.connector is not None:
            try:
                data = self.connectors[record.connector](data)
            except UserError as error:
                raise error.within(self.spec.connectors[record.connector].where) from error
            except (RuntimeError, TypeError, ValueError) as error:
                raise self._misfit(record, data, error) from error
        try:
            return record.pick_connected(data)
        except UserError as error:
            raise error.within(record.where) from error

    def _compare(
        self, spec: LossSpec, records: dict[bool, dict[str, list[Any]]], cached: Mapping[Any, torch.Tensor] | None
    ) -> torch.Tensor:
        arguments = {}
        for argument, record in spec.arguments.items():
            try:
                if cached is not None and not record.from_student:
                    data: Any = cached[record.key]
                else:
                    data = record.pick(records[record.from_student][record.recorder])
            except UserError as error:
                raise error.within(record.where) from error
            arguments[argument] = self.connect(record, data)
        try:
            return self.distill_losses[spec.name](**arguments)
        except UserError as error:
            raise spec.blame(error, self.spec.losses[spec.name].where) from error

    def _misfit(self, record: RecordSpec, data: Any, error: Exception) -> Exception:
        """A convolution that was given the wrong number of channels is the user's mistake; other errors pass."""
        message = str(error)
        if not isinstance(data, torch.Tensor) or not any(word in message for word in ('channels', 'shape', 'dim')):
            return error
        declared = self.spec.connectors[record.connector or '']
        first, where = parts_of(declared.config, declared.where)[0]
        if 2 <= data.dim() <= 5 and isinstance(first, Mapping):
            channels = channels_of(tuple(data.shape))
            for key in IN_NAMES:
                if first.get(key, channels) != channels:
                    expected = f'the {channels} channels of the record {tuple(data.shape)}'
                    advice = f'set {key} to {channels}, or leave it out (used by {record.where})'
                    return UserError(Fault(join_path(where, key), expected, repr(first[key]), advice))
        expected, got = f'a connector for the record {tuple(data.shape)}', message.splitlines()[0]
        return UserError(Fault(declared.where, expected, got, f"write 'auto' (used by {record.where})"))


def parts_of(config: Any, where: str) -> list[tuple[Any, str]]:
    """The connectors that a record passes in sequence, each with its key path.

    An empty list stands for itself, and is refused as what is no connector.
    """
    if not isinstance(config, (list, tuple)) or not config:
        return [(config, where)]
    return [(part, join_path(where, str(index))) for index, part in enumerate(config)]


def _left_out(connectors: Mapping[str, Declared], faults: Faults) -> list[str]:
    """Names of the connectors that the preflight has to work out: ``'auto'``, or without their channels."""
    names = [name for name, declared in connectors.items() if faults.attempt(_is_left_out, declared)]
    if is_drafting():
        return names
    for name in names:
        advice = (
            'start it with tools/train.py, which works out what is left out, or write out what '
            'tools/check_config.py shows'
        )
        got = repr(connectors[name].config)
        faults.append(Fault(connectors[name].where, 'a connector with its channels', got, advice))
    return names


def _is_left_out(declared: Declared) -> bool:
    if declared.config == AUTO:
        return True
    parts = parts_of(declared.config, declared.where)
    return any(missing_channels(find_component(MODELS, part, place), part) for part, place in parts)


def _build_connector(declared: Declared) -> nn.Module:
    built = [build_component(MODELS, part, place) for part, place in parts_of(declared.config, declared.where)]
    return nn.Sequential(*built) if isinstance(declared.config, (list, tuple)) else built[0]
