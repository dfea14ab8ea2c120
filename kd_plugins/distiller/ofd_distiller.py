"""The distiller of overhaul feature distillation."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from kd_plugins.connectors import OFDTeacherConnector, batch_norm_margin
from kd_plugins.distiller.configurable_distiller import ConfigurableDistiller
from kd_plugins.distiller.spec import RecordSpec
from kd_plugins.errors import Fault, Faults, UserError
from kd_plugins.registry import MODELS


@MODELS.register_module()
class OFDDistiller(ConfigurableDistiller):
    """A distiller that sets the margins of its ``OFDTeacherConnector``s from the teacher's BatchNorms.

    Paper: A Comprehensive Overhaul of Feature Distillation, https://arxiv.org/abs/1904.01866

    Args:
        kwargs: Arguments of :class:`ConfigurableDistiller`. A record that passes an ``OFDTeacherConnector`` must be the
            output of a BatchNorm.
    """

    def prepare_from_teacher(self, model: nn.Module) -> tuple[Fault, ...]:
        """Attach the teacher's recorders, and set the margins; returns the faults while drafting.

        Raises:
            UserError: A source is not in the teacher, or not a BatchNorm where there has to be one.
        """
        faults = Faults(super().prepare_from_teacher(model))
        modules = dict(model.named_modules())
        for record, connector in self._margins():
            module = modules.get(self.teacher_recorders.recorders[record.recorder].source)
            try:
                connector.init_margin(batch_norm_margin(module))  # type: ignore[arg-type]
            except UserError as error:
                declared = self.spec.teacher_recorders[record.recorder]
                faults += [
                    declared.blame(Fault('source', fault.expected, fault.got, fault.advice)) for fault in error.faults
                ]
        return faults.settle()

    def _margins(self) -> Iterator[tuple[RecordSpec, OFDTeacherConnector]]:
        """Every use of a connector that needs a margin."""
        for mapping in self.spec.mappings:
            for record in mapping.arguments.values():
                known = record.recorder in self.teacher_recorders.recorders
                connector = dict(self.connectors.items()).get(record.connector or '')
                if record.from_student or not known or connector is None:
                    continue
                for part in connector.modules():
                    if isinstance(part, OFDTeacherConnector):
                        yield record, part
