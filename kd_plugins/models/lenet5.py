"""LeNet-5 for images in colour."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn

from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import MODELS

SIZE = 32


@MODELS.register_module()
class LeNet5(BaseBackbone):
    """LeNet-5 (LeCun et al., Gradient-based learning applied to document recognition, 1998) up to its 84 features.

    5x5 convolutions without padding to 6, 16 and 120 channels, 2x2 pooling after the first two, a linear layer to 84;
    a ``LinearClsHead`` with ``in_channels=84`` is the rest. It is the variant in use today: ReLU and max-pooling in
    place of tanh and the trained average pooling, every map of the second convolution sees all maps of the first, and
    the classifier is linear. mmpretrain's ``LeNet5`` (tanh, average pooling) takes images of one channel only. With a
    head of 10 classes it has 62,006 parameters for images in colour, 61,706 for grey ones. Smaller images get a margin
    of zeros, as the paper's digits get one.

    Recorders find the two feature maps as ``backbone.stages.0`` and ``backbone.stages.1``, after their pooling.

    Args:
        in_channels: Channels of the image, >= 1.
        init_cfg: Weight initialisation, as mmengine's ``BaseModule`` takes it.

    Shape:
        (N, in_channels, H, W) with H, W <= 32 -> one (N, 84).

    Raises:
        UserError: ``in_channels`` is no whole number >= 1, or an image is larger than 32x32.

    Example:
        >>> [tuple(feature.shape) for feature in LeNet5()(torch.rand(2, 3, 32, 32))]
        [(2, 84)]
    """

    def __init__(self, in_channels: int = 3, init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None) -> None:
        super().__init__(init_cfg)
        if isinstance(in_channels, bool) or not isinstance(in_channels, int) or in_channels < 1:
            advice = '3 for images in colour, 1 for grey ones'
            raise UserError(Fault('in_channels', 'a whole number >= 1', repr(in_channels), advice))
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 5), nn.ReLU(), nn.MaxPool2d(2))
            for channels, width in ((in_channels, 6), (6, 16))
        )
        self.features = nn.Sequential(nn.Conv2d(16, 120, 5), nn.ReLU(), nn.Flatten(), nn.Linear(120, 84), nn.ReLU())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the 84 features of each image, in a tuple of one."""
        height, width = (SIZE - size for size in x.shape[-2:])
        if height < 0 or width < 0:
            expected, got = f'images of at most {SIZE}x{SIZE} pixels', f'a batch of shape {tuple(x.shape)}'
            raise UserError(Fault('LeNet5', expected, got, f"add dict(type='Resize', scale=({SIZE}, {SIZE})) before"))
        if height or width:
            x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        for stage in self.stages:
            x = stage(x)  # (N, C, 32, 32) -> (N, 6, 14, 14) -> (N, 16, 5, 5)
        return (self.features(x),)
