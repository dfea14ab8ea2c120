"""Connector of masked generative distillation."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModule
from torch import nn

from kd_plugins.connectors.feature_map import require_feature_map
from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import MODELS


@MODELS.register_module()
class MGDConnector(BaseModule):
    """Hides a random part of the student's feature map and lets two convolutions generate the teacher's from the rest.

    The mask is drawn anew in every forward, in eval mode too.

    Paper: Masked Generative Distillation, https://arxiv.org/abs/2205.01529

    Args:
        student_channels: Channels of the student's feature map; a 1x1 convolution aligns them where the teacher's are
            others.
        teacher_channels: Channels of the teacher's feature map.
        lambda_mgd: Probability, 0 to 1, that a position is hidden.
        mask_on_channel: Hide whole channels instead of positions.
        init_cfg: Initialisation of mmengine.

    Raises:
        UserError: ``lambda_mgd`` is no probability.

    Example:
        >>> connector = MGDConnector(64, 256)
        >>> connector(torch.rand(2, 64, 7, 7)).shape
        torch.Size([2, 256, 7, 7])
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        lambda_mgd: float = 0.65,
        mask_on_channel: bool = False,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if isinstance(lambda_mgd, bool) or not isinstance(lambda_mgd, (int, float)) or not 0 <= lambda_mgd <= 1:
            raise UserError(Fault('lambda_mgd', 'a probability, 0 to 1', repr(lambda_mgd), 'the default is 0.65'))
        self.student_channels = student_channels
        self.lambda_mgd = lambda_mgd
        self.mask_on_channel = mask_on_channel
        self.align = nn.Conv2d(student_channels, teacher_channels, 1) if student_channels != teacher_channels else None
        self.generation = nn.Sequential(
            nn.Conv2d(teacher_channels, teacher_channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(teacher_channels, teacher_channels, 3, padding=1),
        )

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """Generate the teacher's feature map from a masked one of the student.

        Args:
            feature: (N, student_channels, H, W).

        Returns:
            (N, teacher_channels, H, W).

        Raises:
            UserError: ``feature`` is no map, or has another number of channels.
        """
        require_feature_map(feature, self.student_channels, 'correct student_channels')
        if self.align is not None:
            feature = self.align(feature)
        batch, channels, height, width = feature.shape
        size = (batch, channels, 1, 1) if self.mask_on_channel else (batch, 1, height, width)
        hidden = torch.rand(size, device=feature.device) > 1 - self.lambda_mgd
        return self.generation(feature.masked_fill(hidden, 0))
