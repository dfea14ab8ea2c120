"""Connectors of feature-based knowledge distillation: attention masks, pooled features and non-local relations."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import NonLocal2d
from mmengine.model import BaseModule
from torch import nn

from kd_plugins.arguments import require_choice, require_positive, require_rank
from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import MODELS

MODES = ('gaussian', 'embedded_gaussian', 'dot_product', 'concatenation')


class StridedNonLocal2d(NonLocal2d):
    """mmcv's non-local block, which relates each position to all others, with another pooling of those.

    With ``sub_sample`` the others are pooled by 2 and by ``maxpool_stride``, 2 * maxpool_stride in all. That, and the
    names of the weights, are what MMRazor's checkpoints were trained with.

    Args:
        in_channels: Channels of the map.
        sub_sample: Whether to pool.
        maxpool_stride: Stride of the second pooling, in positions.
        **kwargs: Other arguments of mmcv's block.
    """

    def __init__(self, in_channels: int, sub_sample: bool, maxpool_stride: int, **kwargs: Any) -> None:
        super().__init__(in_channels, sub_sample=sub_sample, **kwargs)
        # it has initialised itself; mmengine would do so again, with other arguments
        self.is_init = True
        if sub_sample:
            pool = nn.MaxPool2d(maxpool_stride)
            self.g: nn.Module = nn.Sequential(self.g, pool)
            self.phi: nn.Module = nn.Sequential(self.phi, pool)

    def concatenation(self, theta_x: torch.Tensor, phi_x: torch.Tensor) -> torch.Tensor:
        """Weigh (N, C, h, 1) with (N, C, 1, w): (N, h, w).

        mmcv's own changes the output of the activation in place, and has no gradient. The projection of two stacked
        vectors is the sum of the projections of each, which needs no tensor of all pairs of vectors.
        """
        for_theta, for_phi = self.concat_project.conv.weight.chunk(2, dim=1)
        pairs = F.conv2d(theta_x, for_theta) + F.conv2d(phi_x, for_phi)  # (N, C, h, 1), (N, C, 1, w) -> (N, 1, h, w)
        return pairs.relu().squeeze(1) / pairs.shape[-1]  # (N, 1, h, w) -> (N, h, w)


class _FBKDConnector(BaseModule):
    """What the two sides have in common: arguments, and the attention masks."""

    def __init__(
        self,
        in_channels: int,
        sub_sample: bool,
        maxpool_stride: int,
        spatial_T: float,  # noqa: N803
        channel_T: float,  # noqa: N803
        init_cfg: dict[str, Any] | None,
    ) -> None:
        super().__init__(init_cfg)
        require_positive('spatial_T', spatial_T, '0.5 is the usual one')
        require_positive('channel_T', channel_T, '0.5 is the usual one')
        require_positive('maxpool_stride', maxpool_stride, '2 is the usual one')
        self.in_channels = in_channels
        self.smallest = 2 * maxpool_stride if sub_sample else 1
        self.spatial_T = spatial_T
        self.channel_T = channel_T

    def _check(self, feature: torch.Tensor) -> None:
        expected = f'a map (N, {self.in_channels}, H, W)'
        require_rank('feature', feature, [4], expected, 'record a stage of the backbone or a level of the neck')
        if feature.shape[1] != self.in_channels:
            advice = f'write in_channels={feature.shape[1]}'
            raise UserError(Fault('feature', expected, str(tuple(feature.shape)), advice))
        if min(feature.shape[2:]) < self.smallest:
            expected = f'a height and a width of 2 * maxpool_stride = {self.smallest} at least'
            advice = 'choose a smaller maxpool_stride, or sub_sample=False'
            raise UserError(Fault('feature', expected, str(tuple(feature.shape)), advice))

    def _masks(self, feature: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Where and in which channels (N, C, H, W) is strong: (N, 1, H, W) and (N, C, 1, 1), each 1 on average."""
        strength = feature.abs()
        spatial = strength.mean(dim=1, keepdim=True)  # (N, C, H, W) -> (N, 1, H, W)
        channel = strength.mean(dim=(2, 3), keepdim=True)  # (N, C, H, W) -> (N, C, 1, 1)
        return _attention(spatial, self.spatial_T), _attention(channel, self.channel_T)


@MODELS.register_module()
class FBKDStudentConnector(_FBKDConnector):
    r"""The student's side of feature-based knowledge distillation: what it has of the teacher's, adapted.

    From a map F it makes two attention masks,

    .. math::
        M^s = HW\,\mathrm{softmax}\Big(\frac{1}{C\,T_s} \sum_c |F_c|\Big), \qquad
        M^c = C\,\mathrm{softmax}\Big(\frac{1}{HW\,T_c} \sum_{ij} |F_{ij}|\Big)

    and passes the map, its averages over positions and over channels, and its non-local relations through an adapting
    layer each. ``FBKDLoss`` compares them with what :class:`FBKDTeacherConnector` makes of the teacher's map, of
    equally many channels.

    Paper: Improve Object Detection with Feature-based Knowledge Distillation: Towards Accurate and Efficient
    Detectors, https://openreview.net/forum?id=uKhGRvM8QNH

    Args:
        in_channels: Channels C of the map.
        reduction: How many times fewer channels the non-local block has inside.
        conv_cfg: Convolution layer of the non-local block.
        norm_cfg: Norm layer behind the non-local block's last convolution.
        mode: How the non-local block weighs two positions: ``'gaussian'``, ``'embedded_gaussian'``,
            ``'dot_product'`` or ``'concatenation'``.
        sub_sample: Pool the positions that each position is related to.
        maxpool_stride: With ``sub_sample``, they are pooled by 2 * maxpool_stride.
        zeros_init: Let the non-local block begin as identity.
        spatial_T: Temperature of the mask over positions, above 0.
        channel_T: Temperature of the mask over channels, above 0.
        use_scale: Divide by the root of the inner channels, in the mode ``'embedded_gaussian'``.
        std: Standard deviation of the non-local block's initial weights.
        init_cfg: Initialisation of mmengine.

    Raises:
        UserError: A temperature or ``maxpool_stride`` is not above 0, or ``mode`` is unknown.

    Example:
        >>> connector = FBKDStudentConnector(8, sub_sample=True)
        >>> [tuple(part.shape) for part in connector(torch.rand(2, 8, 6, 6))]
        [(2, 1, 6, 6), (2, 8, 1, 1), (2, 8), (2, 1, 6, 6), (2, 8, 6, 6), (2, 8, 6, 6)]
    """

    def __init__(
        self,
        in_channels: int,
        reduction: int = 2,
        conv_cfg: dict[str, Any] = dict(type='Conv2d'),  # noqa: B006
        norm_cfg: dict[str, Any] = dict(type='BN'),  # noqa: B006
        mode: str = 'dot_product',
        sub_sample: bool = False,
        maxpool_stride: int = 2,
        zeros_init: bool = True,
        spatial_T: float = 0.5,  # noqa: N803
        channel_T: float = 0.5,  # noqa: N803
        use_scale: bool = True,
        std: float = 0.01,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(in_channels, sub_sample, maxpool_stride, spatial_T, channel_T, init_cfg)
        require_choice('mode', mode, MODES, "'dot_product' is the usual one")
        self.channel_wise_adaptation = nn.Linear(in_channels, in_channels)
        self.spatial_wise_adaptation = nn.Conv2d(1, 1, kernel_size=3, padding=1)
        self.adaptation_layers = nn.Conv2d(in_channels, in_channels, kernel_size=1)
        self.student_non_local = StridedNonLocal2d(
            in_channels,
            sub_sample,
            maxpool_stride,
            reduction=reduction,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            mode=mode,
            zeros_init=zeros_init,
            use_scale=use_scale,
            std=std,
        )
        self.non_local_adaptation = nn.Conv2d(in_channels, in_channels, kernel_size=1)

    def forward(self, feature: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Take a map apart.

        Args:
            feature: (N, in_channels, H, W); with ``sub_sample``, H and W are 2 * maxpool_stride at least.

        Returns:
            The mask over positions (N, 1, H, W), the mask over channels (N, C, 1, 1), and, adapted, the average over
            positions (N, C), the average over channels (N, 1, H, W), the relations (N, C, H, W) and the map
            (N, C, H, W).

        Raises:
            UserError: ``feature`` is no such map.
        """
        self._check(feature)
        return (
            *self._masks(feature),
            self.channel_wise_adaptation(feature.mean(dim=(2, 3))),  # (N, C, H, W) -> (N, C)
            self.spatial_wise_adaptation(feature.mean(dim=1, keepdim=True)),  # (N, C, H, W) -> (N, 1, H, W)
            self.non_local_adaptation(self.student_non_local(feature)),
            self.adaptation_layers(feature),
        )


@MODELS.register_module()
class FBKDTeacherConnector(_FBKDConnector):
    """The teacher's side of feature-based knowledge distillation: masks, average and relations of its map.

    The same as :class:`FBKDStudentConnector` without the adapting layers; its non-local block is trained, too.

    Paper: Improve Object Detection with Feature-based Knowledge Distillation: Towards Accurate and Efficient
    Detectors, https://openreview.net/forum?id=uKhGRvM8QNH

    Args:
        in_channels: Channels C of the map.
        reduction: How many times fewer channels the non-local block has inside.
        conv_cfg: Convolution layer of the non-local block.
        norm_cfg: Norm layer behind the non-local block's last convolution.
        mode: How the non-local block weighs two positions: ``'gaussian'``, ``'embedded_gaussian'``,
            ``'dot_product'`` or ``'concatenation'``.
        sub_sample: Pool the positions that each position is related to.
        maxpool_stride: With ``sub_sample``, they are pooled by 2 * maxpool_stride.
        zeros_init: Let the non-local block begin as identity.
        spatial_T: Temperature of the mask over positions, above 0.
        channel_T: Temperature of the mask over channels, above 0.
        use_scale: Divide by the root of the inner channels, in the mode ``'embedded_gaussian'``.
        std: Standard deviation of the non-local block's initial weights.
        init_cfg: Initialisation of mmengine.

    Raises:
        UserError: A temperature or ``maxpool_stride`` is not above 0, or ``mode`` is unknown.

    Example:
        >>> connector = FBKDTeacherConnector(8, sub_sample=True)
        >>> [tuple(part.shape) for part in connector(torch.rand(2, 8, 6, 6))]
        [(2, 1, 6, 6), (2, 8, 1, 1), (2, 1, 6, 6), (2, 8, 6, 6), (2, 8, 6, 6)]
    """

    def __init__(
        self,
        in_channels: int,
        reduction: int = 2,
        conv_cfg: dict[str, Any] = dict(type='Conv2d'),  # noqa: B006
        norm_cfg: dict[str, Any] = dict(type='BN'),  # noqa: B006
        mode: str = 'dot_product',
        sub_sample: bool = False,
        maxpool_stride: int = 2,
        zeros_init: bool = True,
        spatial_T: float = 0.5,  # noqa: N803
        channel_T: float = 0.5,  # noqa: N803
        use_scale: bool = True,
        std: float = 0.01,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(in_channels, sub_sample, maxpool_stride, spatial_T, channel_T, init_cfg)
        require_choice('mode', mode, MODES, "'dot_product' is the usual one")
        self.teacher_non_local = StridedNonLocal2d(
            in_channels,
            sub_sample,
            maxpool_stride,
            reduction=reduction,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            mode=mode,
            zeros_init=zeros_init,
            use_scale=use_scale,
            std=std,
        )

    def forward(self, feature: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Take a map apart.

        Args:
            feature: (N, in_channels, H, W); with ``sub_sample``, H and W are 2 * maxpool_stride at least.

        Returns:
            The mask over positions (N, 1, H, W), the mask over channels (N, C, 1, 1), the average over channels
            (N, 1, H, W), the relations (N, C, H, W), and the map itself (N, C, H, W).

        Raises:
            UserError: ``feature`` is no such map.
        """
        self._check(feature)
        average = feature.mean(dim=1, keepdim=True)  # (N, C, H, W) -> (N, 1, H, W)
        return (*self._masks(feature), average, self.teacher_non_local(feature), feature)


def _attention(strength: torch.Tensor, temperature: float) -> torch.Tensor:
    """Softmax over all but the batch, times their number, which float16 may not hold."""
    flat = strength.flatten(1).to(torch.promote_types(strength.dtype, torch.float32))
    return ((flat / temperature).softmax(dim=1) * flat.shape[1]).view(strength.shape)
