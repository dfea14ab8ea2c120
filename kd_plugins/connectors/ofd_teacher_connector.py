"""Teacher's connector of overhaul feature distillation."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModule

from kd_plugins.arguments import require_rank
from kd_plugins.connectors.feature_map import require_feature_map
from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import MODELS


@MODELS.register_module()
class OFDTeacherConnector(BaseModule):
    """Margin ReLU: lets through what is above a margin of each channel, and the margin itself for all below.

    It has no weights, and lets no gradient into the teacher's feature map. ``OFDDistiller`` gives it the margin of the
    teacher's BatchNorm, :func:`kd_plugins.connectors.batch_norm_margin`; no checkpoint holds it.

    Paper: A Comprehensive Overhaul of Feature Distillation, https://arxiv.org/abs/1904.01866

    Args:
        init_cfg: Initialisation of mmengine.

    Example:
        >>> connector = OFDTeacherConnector()
        >>> connector.init_margin(torch.full((1, 1, 1, 1), -0.5))
        >>> connector(torch.tensor([-2.0, -0.25, 3.0]).view(1, 1, 1, 3)).flatten()
        tensor([-0.5000, -0.2500,  3.0000])
    """

    margin: torch.Tensor | None

    def __init__(self, init_cfg: dict[str, Any] | None = None) -> None:
        super().__init__(init_cfg)
        self.register_buffer('margin', None, persistent=False)

    def init_margin(self, margin: torch.Tensor) -> None:
        """Set the margin.

        Args:
            margin: (1, C, 1, 1), usually below 0.

        Raises:
            UserError: ``margin`` has another rank.
        """
        require_rank('margin', margin, [4], 'a margin per channel, (1, C, 1, 1)', 'compute it with batch_norm_margin')
        self.margin = margin.detach()

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """Cut a feature map off at the margin.

        Args:
            feature: (N, C, H, W), before its activation.

        Returns:
            (N, C, H, W), without gradient.

        Raises:
            UserError: There is no margin yet; ``feature`` is no map, or has another number of channels.
        """
        if self.margin is None:
            advice = 'train with OverhaulFeatureDistillation and OFDDistiller, or call init_margin'
            raise UserError(Fault('margin', "the margin of the teacher's BatchNorm", 'none', advice))
        channels = self.margin.shape[1]
        require_feature_map(feature, channels, "record the teacher's BatchNorm that the margin was computed from")
        return torch.maximum(feature.detach(), self.margin)
