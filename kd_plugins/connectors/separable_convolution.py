"""Two depthwise separable convolutions, as DARTS builds them."""

from __future__ import annotations

import torch
from torch import nn

from kd_plugins.arguments import require_choice


class SeparableConvolution(nn.Module):
    """ReLU, depthwise convolution, pointwise convolution and BatchNorm, twice; the first time with the stride.

    Paper: DARTS: Differentiable Architecture Search, https://arxiv.org/abs/1806.09055

    Args:
        in_channels: Channels of the incoming feature map.
        out_channels: Channels of the outgoing one, a multiple of ``in_channels``.
        kernel_size: 3 or 5, in pixels.
        stride: 1 or 2, in pixels.

    Raises:
        UserError: ``kernel_size`` or ``stride`` is another one.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        require_choice('kernel_size', kernel_size, (3, 5))
        require_choice('stride', stride, (1, 2))
        self.conv1 = _separable(in_channels, in_channels, kernel_size, stride)
        self.conv2 = _separable(in_channels, out_channels, kernel_size, 1)

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """Convolve.

        Args:
            feature: (N, in_channels, H, W).

        Returns:
            (N, out_channels, H', W'), where H' and W' are H and W divided by the stride, rounded up.
        """
        return self.conv2(self.conv1(feature))


def _separable(in_channels: int, out_channels: int, kernel_size: int, stride: int) -> nn.Sequential:
    padding = kernel_size // 2
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=in_channels, bias=False),
        nn.Conv2d(out_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
    )
