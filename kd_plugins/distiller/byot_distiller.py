"""The distiller of self-distillation."""

from __future__ import annotations

from typing import Any

import torch

from kd_plugins.distiller.configurable_distiller import ConfigurableDistiller
from kd_plugins.distiller.spec import RecordSpec
from kd_plugins.recorders import map_tensors
from kd_plugins.registry import MODELS


@MODELS.register_module()
class BYOTDistiller(ConfigurableDistiller):
    """A distiller whose teacher's records carry no gradient, for a teacher that is the student itself.

    Paper: Be Your Own Teacher: Improve the Performance of Convolutional Neural Networks via Self Distillation,
    https://arxiv.org/abs/1905.08094

    Args:
        kwargs: Arguments of :class:`ConfigurableDistiller`.
    """

    def connect(self, record: RecordSpec, data: Any) -> Any:
        """Send a record through its connector; what comes from the teacher's side is cut from the graph."""
        data = super().connect(record, data)
        return data if record.from_student else map_tensors(data, torch.Tensor.detach)
