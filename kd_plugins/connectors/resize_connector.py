"""Connector that brings a map to another height and width."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule

from kd_plugins.arguments import require_choice, require_rank
from kd_plugins.connectors.size import checked_size
from kd_plugins.registry import MODELS

MODES = ('nearest', 'bilinear', 'bicubic')


@MODELS.register_module()
class ResizeConnector(BaseModule):
    """Brings a map to a height and a width; it has no weights.

    A side that shrinks is averaged, so that every position of the incoming map counts; interpolation would skip some.
    A side that grows is interpolated. A map that has the size already passes as it is.

    Args:
        size: Height and width of the outgoing map, in positions.
        mode: How a side that grows is interpolated: ``'nearest'``, ``'bilinear'`` or ``'bicubic'``, with the corners
            not aligned.

    Raises:
        UserError: ``size`` is not two whole numbers above 0, or ``mode`` is unknown.

    Example:
        >>> connector = ResizeConnector((7, 7))
        >>> connector(torch.rand(2, 256, 14, 14)).shape
        torch.Size([2, 256, 7, 7])
    """

    def __init__(self, size: Sequence[int], mode: str = 'bilinear') -> None:
        super().__init__()
        require_choice('mode', mode, MODES, "'bilinear' is the usual one")
        self.size = checked_size(size)
        self.mode = mode

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """Resize a map.

        Args:
            feature: (N, C, H, W).

        Returns:
            (N, C, *size).

        Raises:
            UserError: ``feature`` is no map.
        """
        require_rank('feature', feature, [4], 'a map (N, C, H, W)', 'bring tokens to a map before')
        shrunk = (min(feature.shape[2], self.size[0]), min(feature.shape[3], self.size[1]))
        feature = _averaged(feature, shrunk)
        return feature if shrunk == self.size else F.interpolate(feature, self.size, mode=self.mode)

    def extra_repr(self) -> str:
        """Size and mode, for the printed model."""
        return f'size={self.size}, mode={self.mode!r}'


def _averaged(feature: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    height, width = feature.shape[2:]
    if (height, width) == size:
        return feature
    if height % size[0] == 0 and width % size[1] == 0:
        # the same numbers; on CUDA only this one has a deterministic gradient
        return F.avg_pool2d(feature, (height // size[0], width // size[1]))
    return F.adaptive_avg_pool2d(feature, size)
