"""Student's connector of factor transfer."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModule
from torch import nn

from kd_plugins.connectors.factor_transfer import three_blocks
from kd_plugins.connectors.feature_map import require_feature_map
from kd_plugins.registry import MODELS


@MODELS.register_module()
class Translator(BaseModule):
    """Makes a factor of the student's feature map, to be compared with that of the teacher's :class:`Paraphraser`.

    It is trained with the student; gradient flows into its weights and into the feature map.

    Paper: Paraphrasing Complex Network: Network Compression via Factor Transfer, https://arxiv.org/abs/1802.04977

    Args:
        in_channel: Channels of the student's feature map.
        out_channel: Channels of the factor, as many as the paraphraser's.
        use_bn: Put a BatchNorm after each convolution.
        init_cfg: Initialisation of mmengine.

    Example:
        >>> Translator(16, 32)(torch.rand(2, 16, 8, 8)).shape
        torch.Size([2, 32, 8, 8])
    """

    def __init__(
        self, in_channel: int, out_channel: int, use_bn: bool = True, init_cfg: dict[str, Any] | None = None
    ) -> None:
        super().__init__(init_cfg)
        self.in_channel = in_channel
        self.encoder = three_blocks(nn.Conv2d, (in_channel, in_channel, out_channel, out_channel), use_bn)

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """Make the factor.

        Args:
            feature: (N, in_channel, H, W).

        Returns:
            (N, out_channel, H, W).

        Raises:
            UserError: ``feature`` is no map, or has another number of channels.
        """
        require_feature_map(feature, self.in_channel, 'correct in_channel')
        return self.encoder(feature)
