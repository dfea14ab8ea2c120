"""RegNetY, the teacher of DeiT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn

from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import MODELS

SQUEEZE = 0.25


@MODELS.register_module()
class RegNetY(BaseBackbone):
    """Stages of grouped bottlenecks with squeeze-and-excitation; mmpretrain's RegNet is RegNetX, without it.

    Names of the weights are timm's, so that its checkpoints load.

    Paper: Designing Network Design Spaces, https://arxiv.org/abs/2003.13678

    Args:
        depths: Blocks of each stage.
        widths: Channels of each stage, multiples of ``group_width``.
        group_width: Channels of a group of the 3x3 convolutions.
        in_channels: Channels of the image.
        stem_width: Channels of the first convolution.
        init_cfg: Weight initialisation, as mmengine's ``BaseModule`` takes it.

    Shape:
        (N, in_channels, H, W) -> one (N, widths[-1], H / 2^(stages + 1), W / 2^(stages + 1)).

    Raises:
        UserError: ``depths`` and ``widths`` are not of one length, or a width is no multiple of ``group_width``.

    Example:
        >>> backbone = RegNetY(depths=(1, 2), widths=(16, 32), group_width=8)
        >>> [tuple(feature.shape) for feature in backbone(torch.rand(2, 3, 32, 32))]
        [(2, 32, 4, 4)]
    """

    def __init__(
        self,
        depths: Sequence[int],
        widths: Sequence[int],
        group_width: int,
        in_channels: int = 3,
        stem_width: int = 32,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        _check_stages(depths, widths, group_width)
        self.stem = _conv(in_channels, stem_width, 3, stride=2)
        self.num_stages = len(depths)
        before = stem_width
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True), 1):
            blocks = nn.Sequential()
            for block in range(1, depth + 1):
                blocks.add_module(f'b{block}', Bottleneck(before, width, group_width, stride=2 if block == 1 else 1))
                before = width
            self.add_module(f's{stage}', blocks)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the feature map of the last stage."""
        x = self.stem(x)
        for stage in range(1, self.num_stages + 1):
            x = self.get_submodule(f's{stage}')(x)  # (N, C, H, W) -> (N, C', H / 2, W / 2)
        return (x,)


class Bottleneck(nn.Module):
    """1x1, grouped 3x3 and 1x1 convolutions of one width around a squeeze-and-excitation.

    Args:
        in_channels: Channels before.
        width: Channels within and after.
        group_width: Channels of a group of the 3x3 convolution.
        stride: Of the 3x3 convolution.
    """

    def __init__(self, in_channels: int, width: int, group_width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, width, 1)
        self.conv2 = _conv(width, width, 3, stride=stride, groups=width // group_width)
        self.se = SqueezeExcite(width, round(in_channels * SQUEEZE))
        self.conv3 = _conv(width, width, 1, act=False)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != width:
            self.downsample = _conv(in_channels, width, 1, stride=stride, act=False)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, width, H / stride, W / stride)."""
        return self.act(self.conv3(self.se(self.conv2(self.conv1(x)))) + self.downsample(x))


class SqueezeExcite(nn.Module):
    """Weighs each channel by what all of them are on average.

    Args:
        channels: Of the feature map.
        squeezed: Of the hidden layer.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same shape."""
        mean = x.mean((2, 3), keepdim=True)  # (N, C, H, W) -> (N, C, 1, 1)
        return x * self.fc2(self.fc1(mean).relu()).sigmoid()


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True) -> ConvModule:
    return ConvModule(
        inputs,
        outputs,
        kernel,
        stride=stride,
        padding=kernel // 2,
        groups=groups,
        norm_cfg=dict(type='BN'),
        act_cfg=dict(type='ReLU') if act else None,
    )


def _check_stages(depths: Sequence[int], widths: Sequence[int], group_width: int) -> None:
    whole = [isinstance(size, int) and size > 0 for size in (*depths, *widths, group_width)]
    if not all(whole) or len(depths) != len(widths) or not depths:
        got = f'depths={tuple(depths)} and widths={tuple(widths)}'
        raise UserError(Fault('depths', 'one positive depth and one positive width a stage', got, 'correct them'))
    for width in widths:
        if width % group_width:
            advice = f'write {width // group_width * group_width or group_width}, for instance'
            raise UserError(Fault('widths', f'multiples of group_width={group_width}', str(width), advice))
