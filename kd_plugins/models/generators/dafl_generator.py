"""The generator of DAFL."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import nn

from kd_plugins.models.generators.latent import first_size, latent_batch
from kd_plugins.registry import MODELS


@MODELS.register_module()
class DAFLGenerator(BaseModule):
    """Turns noise into images: a linear layer, and convolutions at growing sizes, to a tanh that a BatchNorm spreads.

    The images have mean 0 and variance 1 in each channel over a training batch, as normalised real ones have.

    Paper: Data-Free Learning of Student Networks, https://arxiv.org/abs/1904.01186

    Args:
        img_size: Height and width of the images, in pixels; a multiple of ``scale_factor ** 2``.
        latent_dim: Numbers of noise for each image.
        hidden_channels: Channels of the feature maps; the last one has half of them.
        scale_factor: Scale of each of both steps up, to the nearest pixel.
        bn_eps: Added to the variance by the BatchNorms of the hidden maps after the first, as large as in the
            paper's code.
        leaky_slope: Slope of the LeakyReLUs below zero.
        init_cfg: Initialisation of mmengine.

    Raises:
        UserError: A size is no whole number, too small, or not reached by the steps.

    Example:
        >>> generator = DAFLGenerator(img_size=32, latent_dim=100, hidden_channels=16)
        >>> generator(batch_size=4).shape
        torch.Size([4, 3, 32, 32])
    """

    def __init__(
        self,
        img_size: int,
        latent_dim: int,
        hidden_channels: int,
        scale_factor: int = 2,
        bn_eps: float = 0.8,
        leaky_slope: float = 0.2,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.latent_dim = latent_dim
        self.scale_factor = scale_factor
        size = first_size(img_size, latent_dim, hidden_channels, scale_factor)
        self.first_shape = (hidden_channels, size, size)
        half = hidden_channels // 2
        self.linear = nn.Linear(latent_dim, hidden_channels * size**2)
        self.bn1 = nn.BatchNorm2d(hidden_channels)
        self.conv_blocks1 = nn.Sequential(
            nn.Conv2d(hidden_channels, hidden_channels, 3, padding=1),
            nn.BatchNorm2d(hidden_channels, eps=bn_eps),
            nn.LeakyReLU(leaky_slope, inplace=True),
        )
        self.conv_blocks2 = nn.Sequential(
            nn.Conv2d(hidden_channels, half, 3, padding=1),
            nn.BatchNorm2d(half, eps=bn_eps),
            nn.LeakyReLU(leaky_slope, inplace=True),
            nn.Conv2d(half, 3, 3, padding=1),
            nn.Tanh(),
            nn.BatchNorm2d(3, affine=False),
        )

    def forward(self, data: torch.Tensor | None = None, batch_size: int = 1) -> torch.Tensor:
        """Make images.

        Args:
            data: Noise, (N, latent_dim); drawn from a standard normal distribution where it is None.
            batch_size: N, for drawn noise.

        Returns:
            (N, 3, img_size, img_size)

        Raises:
            UserError: ``data`` has another shape, or ``batch_size`` is no whole number above 0.
        """
        noise = latent_batch(data, batch_size, self.latent_dim, next(self.parameters()))
        feature = self.bn1(self.linear(noise).unflatten(1, self.first_shape))  # (N, D) -> (N, C, h, w)
        feature = self.conv_blocks1(F.interpolate(feature, scale_factor=self.scale_factor))
        return self.conv_blocks2(F.interpolate(feature, scale_factor=self.scale_factor))  # -> (N, 3, H, W)
