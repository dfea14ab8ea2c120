"""Teacher's connector of factor transfer."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModule
from torch import nn

from kd_plugins.arguments import require_choice
from kd_plugins.connectors.factor_transfer import three_blocks
from kd_plugins.connectors.feature_map import require_feature_map
from kd_plugins.registry import MODELS


@MODELS.register_module()
class Paraphraser(BaseModule):
    """Autoencoder whose code, the factor, tells the student what the teacher's feature map holds.

    It is trained first, alone, in phase ``'pretrain'``: it returns a reconstruction of the teacher's feature map, which
    ``L2Loss`` compares with the map itself. Then, in phase ``'train'``, it is frozen and returns the factor, which
    ``FTLoss`` compares with that of the student's :class:`Translator`.

    Gradient flows into the weights and the feature map in phase ``'pretrain'``, and nowhere in phase ``'train'``.
    Frozen means that its weights require no gradient and that it stays in eval mode.

    Paper: Paraphrasing Complex Network: Network Compression via Factor Transfer, https://arxiv.org/abs/1802.04977

    Args:
        in_channel: Channels of the teacher's feature map.
        out_channel: Channels of the factor: ``in_channel`` times the paper's paraphrase rate, 0.5 for one.
        phase: ``'pretrain'`` or ``'train'``.
        use_bn: Put a BatchNorm after each convolution.
        init_cfg: Initialisation of mmengine.

    Raises:
        UserError: ``phase`` is unknown.

    Example:
        >>> feature = torch.rand(2, 64, 8, 8)
        >>> Paraphraser(64, 32, phase='pretrain')(feature).shape
        torch.Size([2, 64, 8, 8])
        >>> Paraphraser(64, 32, phase='train')(feature).shape
        torch.Size([2, 32, 8, 8])
    """

    def __init__(
        self,
        in_channel: int,
        out_channel: int,
        phase: str = 'pretrain',
        use_bn: bool = False,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        require_choice('phase', phase, ('pretrain', 'train'), "'pretrain' comes first")
        self.in_channel = in_channel
        self.phase = phase
        self.encoder = three_blocks(nn.Conv2d, (in_channel, in_channel, out_channel, out_channel), use_bn)
        self.decoder = three_blocks(nn.ConvTranspose2d, (out_channel, out_channel, in_channel, in_channel), use_bn)
        if phase == 'train':
            self.requires_grad_(False).eval()

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """Reconstruct a feature map, or give its factor.

        Args:
            feature: (N, in_channel, H, W).

        Returns:
            The reconstruction (N, in_channel, H, W) in phase ``'pretrain'``, the factor (N, out_channel, H, W) in phase
            ``'train'``.

        Raises:
            UserError: ``feature`` is no map, or has another number of channels.
        """
        require_feature_map(feature, self.in_channel, 'correct in_channel')
        if self.phase == 'train':
            with torch.no_grad():
                return self.encoder(feature)
        return self.decoder(self.encoder(feature))

    def train(self, mode: bool = True) -> Paraphraser:
        """Stay in eval mode in phase ``'train'``."""
        return super().train(mode and self.phase == 'pretrain')
