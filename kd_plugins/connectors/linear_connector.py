"""Connector of one linear layer."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModule
from torch import nn

from kd_plugins.registry import MODELS


@MODELS.register_module()
class LinearConnector(BaseModule):
    """Brings vectors or tokens to another number of channels with a linear layer over the last dimension.

    Args:
        in_channel: Channels of the incoming vectors or tokens.
        out_channel: Channels of the outgoing ones.
        bias: Add a bias per outgoing channel.
        init_cfg: Initialisation of mmengine.

    Example:
        >>> connector = LinearConnector(192, 768)
        >>> connector(torch.rand(2, 197, 192)).shape
        torch.Size([2, 197, 768])
    """

    def __init__(
        self, in_channel: int, out_channel: int, bias: bool = True, init_cfg: dict[str, Any] | None = None
    ) -> None:
        super().__init__(init_cfg)
        self.linear = nn.Linear(in_channel, out_channel, bias)

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """Convert vectors or tokens.

        Args:
            feature: (N, in_channel) or (N, L, in_channel).

        Returns:
            (N, out_channel) or (N, L, out_channel).
        """
        return self.linear(feature)
