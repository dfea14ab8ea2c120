"""A plain convolutional network, for small teachers and smaller students."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn

from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import MODELS


@MODELS.register_module()
class PlainCNN(BaseBackbone):
    """3x3 convolutions in stages, with 2x2 max-pooling between the stages, as in VGG.

    Recorders find a stage as ``backbone.stages.0`` and a layer in it as ``backbone.stages.0.1``.

    Args:
        stages: Output channels of each layer of each stage; ``((64, 64), (128, 128), (256,))`` is five layers in three
            stages.
        in_channels: Channels of the image.
        out_indices: Stages whose feature maps are returned; negative ones count from the end.
        norm_cfg: The layers' norm, as mmcv's ``ConvModule`` takes it; None leaves it out and gives the convolutions a
            bias.
        act_cfg: The layers' activation; None leaves it out.
        conv_cfg: The layers' convolution; None is the plain one.
        pool_last: Also pool what the last stage returns.
        init_cfg: Weight initialisation, as mmengine's ``BaseModule`` takes it.

    Shape:
        (N, in_channels, H, W) -> one (N, C_i, H / 2^i, W / 2^i) for each stage i of ``out_indices``, counted from 0;
        with ``pool_last`` the last stage's is (N, C_i, H / 2^(i+1), W / 2^(i+1)).

    Example:
        >>> backbone = PlainCNN(stages=((32,), (64,), (128,)))
        >>> [tuple(feature.shape) for feature in backbone(torch.rand(2, 3, 32, 32))]
        [(2, 128, 8, 8)]
    """

    def __init__(
        self,
        stages: Sequence[Sequence[int]],
        in_channels: int = 3,
        out_indices: Sequence[int] = (-1,),
        norm_cfg: dict[str, Any] | None = dict(type='BN'),  # noqa: B006
        act_cfg: dict[str, Any] | None = dict(type='ReLU'),  # noqa: B006
        conv_cfg: dict[str, Any] | None = None,
        pool_last: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        _check_stages(stages)
        self.out_indices = _resolve_out_indices(out_indices, len(stages))
        self.stages = nn.ModuleList()
        for widths in stages:
            layers = []
            for width in widths:
                layers.append(
                    ConvModule(in_channels, width, 3, padding=1, conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
                )
                in_channels = width
            self.stages.append(nn.Sequential(*layers))
        self.pool = nn.MaxPool2d(2)
        self.pool_last = pool_last

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps of the stages in ``out_indices``, in rising order."""
        features = []
        for index, stage in enumerate(self.stages):
            x = stage(x if index == 0 else self.pool(x))  # (N, C, H, W) -> (N, C', H / 2, W / 2)
            if index in self.out_indices:
                last = index == len(self.stages) - 1
                features.append(self.pool(x) if last and self.pool_last else x)
        return tuple(features)


def _check_stages(stages: Sequence[Sequence[int]]) -> None:
    nested = isinstance(stages, Sequence) and all(isinstance(widths, Sequence) and widths for widths in stages)
    if not nested or not stages or not all(isinstance(w, int) and w > 0 for widths in stages for w in widths):
        expected = 'a tuple of tuples of positive channel counts, none of them empty'
        raise UserError(Fault('stages', expected, repr(stages), 'write ((32,), (64,)) for two stages of one layer'))


def _resolve_out_indices(out_indices: Sequence[int], num_stages: int) -> tuple[int, ...]:
    """Count negative indices from the end, sort, and refuse the ones beyond the last stage."""
    valid = range(-num_stages, num_stages)
    if not isinstance(out_indices, Sequence) or not out_indices or any(index not in valid for index in out_indices):
        expected = f'a tuple of stage indices from {-num_stages} to {num_stages - 1}'
        raise UserError(Fault('out_indices', expected, repr(out_indices), f'the network has {num_stages} stages'))
    return tuple(sorted({index % num_stages for index in out_indices}))
