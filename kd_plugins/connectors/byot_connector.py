"""Connector of self-distillation: a classifier of its own for a shallow stage."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import nn

from kd_plugins.arguments import require_positive
from kd_plugins.connectors.feature_map import require_feature_map
from kd_plugins.connectors.separable_convolution import SeparableConvolution
from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import MODELS


@MODELS.register_module()
class BYOTConnector(BaseModule):
    """Attention, a chain of convolutions that brings a stage to the size of the last one, and a linear classifier.

    It returns the feature and the logits, which ``connector_idx`` 0 and 1 choose.

    Paper: Be Your Own Teacher: Improve the Performance of Convolutional Neural Networks via Self Distillation,
    https://arxiv.org/abs/1905.08094

    Args:
        in_channel: Channels of the incoming feature map, divided by ``expansion``.
        out_channel: Channels of the outgoing feature, divided by ``expansion``: ``in_channel`` times a power of two,
            with one convolution for each doubling.
        num_classes: Number of classes.
        expansion: Expansion of the backbone's blocks: 1 for ResNet18, 4 for ResNet50.
        pool_size: Height and width that are averaged after the convolutions, in positions; they have to leave one.
        kernel_size: Size of the convolutions' kernels, 3 or 5.
        stride: Stride of each convolution, 1 or 2.
        init_cfg: Initialisation of mmengine.

    Raises:
        UserError: ``out_channel`` is not ``in_channel`` times a power of two, or ``kernel_size``, ``stride`` or
            ``pool_size`` is another one.

    Example:
        >>> connector = BYOTConnector(64, 256, num_classes=10, expansion=1, stride=2)
        >>> feature, logits = connector(torch.rand(2, 64, 16, 16))
        >>> feature.shape, logits.shape
        (torch.Size([2, 256]), torch.Size([2, 10]))
    """

    def __init__(
        self,
        in_channel: int,
        out_channel: int,
        num_classes: int,
        expansion: int = 4,
        pool_size: int | tuple[int, int] = 4,
        kernel_size: int = 3,
        stride: int = 1,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        require_positive('in_channel', in_channel)
        factor, rest = divmod(out_channel, in_channel)
        if rest or factor < 1 or factor & (factor - 1):
            expected = f'in_channel, {in_channel}, times a power of two'
            raise UserError(Fault('out_channel', expected, repr(out_channel), "write the last stage's channels"))

        self.in_channels = in_channel * expansion
        self.pool_size = (pool_size, pool_size) if isinstance(pool_size, int) else tuple(pool_size)
        if len(self.pool_size) != 2 or min(self.pool_size) < 1:
            expected = 'one or two whole numbers above 0'
            raise UserError(Fault('pool_size', expected, repr(pool_size), 'write the size of the last stage'))
        self.attention = nn.Sequential(
            SeparableConvolution(self.in_channels, self.in_channels, kernel_size, stride),
            nn.BatchNorm2d(self.in_channels),
            nn.ReLU(),
        )
        doublings = factor.bit_length() - 1
        widths = [self.in_channels << doubling for doubling in range(doublings + 1)]
        self.scala = nn.Sequential(
            *(SeparableConvolution(before, after, kernel_size, stride) for before, after in pairwise(widths)),
            nn.AvgPool2d(self.pool_size),
        )
        self.fc = nn.Linear(out_channel * expansion, num_classes)

    def forward(self, feature: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Classify the feature map of a stage.

        Args:
            feature: (N, in_channel * expansion, H, W).

        Returns:
            The feature (N, out_channel * expansion) and the logits (N, num_classes).

        Raises:
            UserError: ``feature`` is no map, has another number of channels, or more or less than one position is left
                of it.
        """
        require_feature_map(feature, self.in_channels, 'correct in_channel or expansion')
        # not scale_factor=2, which fits nothing but a stride of 2 and even sides
        attention = F.interpolate(self.attention(feature), feature.shape[2:], mode='bilinear')
        scaled = self.scala[:-1](feature * attention.sigmoid())
        self._check_size(scaled)
        pooled = self.scala[-1](scaled).flatten(1)  # (N, C, H, W) -> (N, C, 1, 1) -> (N, C)
        return pooled, self.fc(pooled)

    def _check_size(self, scaled: torch.Tensor) -> None:
        """Refuse what the pooling does not average to one position."""
        size, window = tuple(scaled.shape[2:]), self.pool_size
        if any(side // pooled != 1 for side, pooled in zip(size, window, strict=True)):
            expected = f'a map of which one window of {window[0]} x {window[1]} positions is left'
            got = f'{size[0]} x {size[1]} positions after the convolutions'
            raise UserError(Fault('feature', expected, got, f'write pool_size={size}, or correct stride'))
