"""The distiller that a config describes: records through connectors into losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import nn

from kd_plugins.build import build_component
from kd_plugins.distiller.spec import LossSpec, RecordSpec, parse_mappings, unused_faults
from kd_plugins.errors import Fault, UserError, join_path
from kd_plugins.recorders import RecorderSet
from kd_plugins.registry import MODELS


@MODELS.register_module()
class ConfigurableDistiller(BaseModule):
    """Maps what was recorded in both models through connectors into distill losses.

    The keys and their meaning are MMRazor's.

    Args:
        student_recorders: Recorder config by name.
        teacher_recorders: Recorder config by name.
        connectors: By name, a connector config, or a list of them, which are passed in sequence.
        distill_losses: Loss config by name. The name stands in the log and must contain ``loss`` for the loss to be
            trained.
        loss_forward_mappings: By loss, by argument of the loss: ``dict(recorder=…, from_student=…, record_idx=0,
            data_idx=None, connector=None, connector_idx=None)``.
        init_cfg: Initialisation of mmengine, for the connectors.

    Raises:
        UserError: With every fault found in these dicts.
    """

    def __init__(
        self,
        student_recorders: Mapping[str, Any] | None = None,
        teacher_recorders: Mapping[str, Any] | None = None,
        connectors: Mapping[str, Any] | None = None,
        distill_losses: Mapping[str, Any] | None = None,
        loss_forward_mappings: Mapping[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        faults = _not_dicts(
            student_recorders=student_recorders,
            teacher_recorders=teacher_recorders,
            connectors=connectors,
            distill_losses=distill_losses,
            loss_forward_mappings=loss_forward_mappings,
        )
        if faults:
            raise UserError(*faults)

        def build(builder: Callable[..., Any], configs: Any, where: str) -> Any:
            try:
                return builder(configs, where)
            except UserError as error:
                faults.extend(error.faults)

        self.student_recorders: RecorderSet = build(RecorderSet, student_recorders, 'student_recorders')
        self.teacher_recorders: RecorderSet = build(RecorderSet, teacher_recorders, 'teacher_recorders')
        self.connectors = nn.ModuleDict()
        for name, config in (connectors or {}).items():
            self.connectors[name] = build(_build_connector, config, f'connectors.{name}')
        self.distill_losses = nn.ModuleDict()
        for name, config in (distill_losses or {}).items():
            self.distill_losses[name] = build(partial(build_component, MODELS), config, f'distill_losses.{name}')
        if faults:
            raise UserError(*faults)
        self.specs: tuple[LossSpec, ...] = parse_mappings(
            loss_forward_mappings or {},
            self.distill_losses,
            self.connectors.keys(),
            self.student_recorders.recorders.keys(),
            self.teacher_recorders.recorders.keys(),
        )
        faults = unused_faults(self.specs, self.distill_losses.keys(), self.connectors.keys())
        if faults:
            raise UserError(*faults)

    def prepare_from_student(self, model: nn.Module) -> None:
        """Attach the student's recorders to ``model``."""
        self.student_recorders.attach(model)

    def prepare_from_teacher(self, model: nn.Module) -> None:
        """Attach the teacher's recorders to ``model``."""
        self.teacher_recorders.attach(model)

    def detach(self) -> None:
        """Detach all recorders: both models are as if they had never been recorded."""
        self.student_recorders.detach()
        self.teacher_recorders.detach()

    def compute_distill_losses(self) -> dict[str, torch.Tensor]:
        """Compare what the last forwards left in the recorders, which forget it.

        Returns:
            The losses by name, each a scalar unless its reduction is ``'none'``.

        Raises:
            UserError: A record is not there, or two tensors do not meet in a loss.
        """
        records = {True: self.student_recorders.pop(), False: self.teacher_recorders.pop()}
        losses = {}
        for spec in self.specs:
            arguments = {
                argument: self._fetch(record, records, join_path('loss_forward_mappings', spec.name, argument))
                for argument, record in spec.arguments.items()
            }
            try:
                losses[spec.name] = self.distill_losses[spec.name](**arguments)
            except UserError as error:
                raise error.within(f'distill_losses.{spec.name}') from error
        return losses

    def _fetch(self, record: RecordSpec, records: dict[bool, dict[str, list[Any]]], where: str) -> Any:
        try:
            data = record.pick(records[record.from_student][record.recorder])
        except UserError as error:
            raise error.within(where) from error
        if record.connector is not None:
            try:
                data = self.connectors[record.connector](data)
            except (RuntimeError, TypeError, ValueError) as error:
                raise _misfit(record, data, where, error) from error
        return data if record.connector_idx is None else data[record.connector_idx]


def _not_dicts(**configs: Any) -> list[Fault]:
    return [
        Fault(name, 'a dict by name', f'a {type(config).__name__}', 'write dict(…); look for a comma after it')
        for name, config in configs.items()
        if config is not None and not isinstance(config, Mapping)
    ]


def _build_connector(config: Any, where: str) -> nn.Module:
    if isinstance(config, (list, tuple)):
        return nn.Sequential(*(build_component(MODELS, part, f'{where}[{i}]') for i, part in enumerate(config)))
    return build_component(MODELS, config, where)


def _misfit(record: RecordSpec, data: Any, where: str, error: Exception) -> Exception:
    """A convolution that was given the wrong number of channels is the user's mistake; other errors pass."""
    message = str(error)
    if not isinstance(data, torch.Tensor) or not ('channels' in message or 'shape' in message or 'dim' in message):
        return error
    return UserError(
        Fault(
            f'connectors.{record.connector}',
            f'a connector for the record {tuple(data.shape)} of {record.recorder!r}',
            message.splitlines()[0],
            f'set its in_channel to {data.shape[1] if data.dim() > 1 else data.shape[0]} (used by {where})',
        )
    )
