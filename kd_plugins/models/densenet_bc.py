"""The DenseNet of the CIFAR experiments, for images of 32x32 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.backbones.densenet import DenseNet
from torch import nn

from kd_plugins.arguments import require_positive
from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import MODELS

NUM_STAGES = 3
# of the paper's experiments; what mmengine's initialisers call He's of the outputs
HE_NORMAL = [dict(type='Kaiming', layer='Conv2d'), dict(type='Constant', val=1, layer='BatchNorm2d')]


@MODELS.register_module()
class DenseNetBC(DenseNet):
    """DenseNet with bottlenecks and compression for small images (https://arxiv.org/abs/1608.06993, section 3).

    mmpretrain's ``DenseNet`` has a stem that shrinks the image four times, for ImageNet. This one begins with a single
    3x3 convolution of ``2 * growth_rate`` channels, and has three blocks of ``(depth - 4) / 6`` layers, each of which
    is a 1x1 convolution to ``4 * growth_rate`` channels and a 3x3 convolution to ``growth_rate``. With depth 100,
    growth 12 and a linear head of 10 classes there are 769,162 parameters, the 0.8 million of the paper's table 2.

    Recorders find the stem as ``backbone.stem``, a block as ``backbone.stages.0``, and what follows it as
    ``backbone.transitions.0``: behind the last block that is its norm and activation, behind the others a 1x1
    convolution and 2x2 average pooling too. What the backbone returns is what comes after the transitions.

    Args:
        depth: Number of layers with weights; 6 n + 4 with n >= 1.
        growth_rate: Channels that a layer adds, >= 1.
        compression: Share of the channels that a transition keeps, in (0, 1].
        in_channels: Channels of the image.
        drop_rate: Share of a layer's outputs that training sets to zero, in [0, 1).
        out_indices: Stages whose feature maps are returned; negative ones count from the end.
        init_cfg: Weight initialisation, as mmengine's ``BaseModule`` takes it; He's normal one by default.

    Shape:
        (N, in_channels, H, W) -> one map for each stage i of ``out_indices``, counted from 0: (N, C_i, H / 2^(i+1),
        W / 2^(i+1)) for the first two, (N, C_2, H / 4, W / 4) for the last; C is 108, 150, 342 at depth 100.

    Raises:
        UserError: An argument is out of its range.

    Example:
        >>> backbone = DenseNetBC(depth=40)
        >>> [tuple(feature.shape) for feature in backbone(torch.rand(2, 3, 32, 32))]
        [(2, 132, 8, 8)]
    """

    def __init__(
        self,
        depth: int = 100,
        growth_rate: int = 12,
        compression: float = 0.5,
        in_channels: int = 3,
        drop_rate: float = 0.0,
        out_indices: Sequence[int] = (-1,),
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = HE_NORMAL,  # type: ignore[assignment]
    ) -> None:
        _check(depth, growth_rate, compression, drop_rate, out_indices)
        stem_channels = 2 * growth_rate
        super().__init__(
            dict(growth_rate=growth_rate, depths=[(depth - 4) // 6] * NUM_STAGES, init_channels=stem_channels),
            in_channels=in_channels,
            drop_rate=drop_rate,
            compression_factor=compression,
            out_indices=sorted({index % NUM_STAGES for index in out_indices}),
            init_cfg=init_cfg,
        )
        self.stem = nn.Conv2d(in_channels, stem_channels, 3, padding=1, bias=False)


def _check(depth: Any, growth_rate: Any, compression: Any, drop_rate: Any, out_indices: Any) -> None:
    if not _whole(depth) or depth < 10 or (depth - 4) % 6:
        expected = 'a whole number 6 n + 4 with n >= 1: three blocks of n layers with two convolutions, and four more'
        raise UserError(Fault('depth', expected, repr(depth), 'choose 40 or 100'))
    if not _whole(growth_rate) or growth_rate < 1:
        advice = 'the paper has 12 for images of 32x32 pixels'
        raise UserError(Fault('growth_rate', 'a whole number >= 1', repr(growth_rate), advice))
    require_positive('compression', compression, 'the paper has 0.5')
    if compression > 1:
        raise UserError(Fault('compression', 'a share in (0, 1]', repr(compression), 'the paper has 0.5'))
    if isinstance(drop_rate, bool) or not isinstance(drop_rate, (int, float)) or not 0 <= drop_rate < 1:
        raise UserError(Fault('drop_rate', 'a share in [0, 1)', repr(drop_rate), 'choose 0 for none'))
    valid = range(-NUM_STAGES, NUM_STAGES)
    if not isinstance(out_indices, Sequence) or not out_indices or any(index not in valid for index in out_indices):
        expected = f'a tuple of stage indices from {-NUM_STAGES} to {NUM_STAGES - 1}'
        raise UserError(Fault('out_indices', expected, repr(out_indices), f'the network has {NUM_STAGES} stages'))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
