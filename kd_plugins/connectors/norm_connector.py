"""Connector of one normalisation layer."""

from __future__ import annotations

from typing import Any

import torch
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from torch import nn

from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import MODELS


@MODELS.register_module()
class NormConnector(BaseModule):
    """Normalises a record with one of mmcv's normalisation layers.

    Args:
        in_channels: Channels of the record, which stay as many.
        norm_cfg: The layer: ``dict(type='BN')``, ``dict(type='GN', num_groups=32)``, …
        init_cfg: Initialisation of mmengine.

    Example:
        >>> connector = NormConnector(256, dict(type='BN', affine=False))
        >>> connector(torch.rand(2, 256, 14, 14)).shape
        torch.Size([2, 256, 14, 14])
    """

    def __init__(self, in_channels: int, norm_cfg: dict[str, Any], init_cfg: dict[str, Any] | None = None) -> None:
        super().__init__(init_cfg)
        self.in_channels = in_channels
        _, self.norm = build_norm_layer(norm_cfg, in_channels)

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """Normalise a record.

        Args:
            feature: (N, in_channels, H, W), or what else the layer takes: tokens (N, L, in_channels) for ``'LN'``.

        Returns:
            Of the same shape.

        Raises:
            UserError: ``feature`` has another number of channels.
        """
        if feature.dim() < 2 or self.in_channels not in (feature.shape[1], feature.shape[-1]):
            expected = f'a record of {self.in_channels} channels'
            raise UserError(Fault('feature', expected, str(tuple(feature.shape)), 'correct in_channels'))
        if isinstance(self.norm, nn.GroupNorm) and not feature.requires_grad:
            # of a frozen teacher: PyTorch's backward on a CPU cannot be trusted with other layouts
            feature = feature.contiguous()
        return self.norm(feature)
