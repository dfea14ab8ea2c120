"""Connector that reads a map as the tokens of a transformer."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule

from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import MODELS


@MODELS.register_module()
class MapToTokensConnector(BaseModule):
    """Reads the positions of a map as tokens, row by row; it has no weights.

    Example:
        >>> connector = MapToTokensConnector()
        >>> connector(torch.rand(2, 768, 7, 7)).shape
        torch.Size([2, 49, 768])
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """Read a map as tokens.

        Args:
            feature: (N, C, H, W).

        Returns:
            (N, H * W, C).

        Raises:
            UserError: ``feature`` is no map.
        """
        if feature.dim() != 4:
            raise UserError(
                Fault('feature', 'a map (N, C, H, W)', str(tuple(feature.shape)), 'tokens need no such connector')
            )
        return feature.flatten(2).transpose(1, 2)  # (N, C, H, W) -> (N, HW, C)
