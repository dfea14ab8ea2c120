"""Connector of convolution, norm and activation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule

from kd_plugins.registry import MODELS


@MODELS.register_module()
class ConvModuleConnector(BaseModule):
    """Brings a feature map to another number of channels with mmcv's ``ConvModule``.

    By default a 1x1 convolution with ReLU, the regressor of FitNets (https://arxiv.org/abs/1412.6550).

    Args:
        in_channel: Channels of the incoming feature map.
        out_channel: Channels of the outgoing one.
        kernel_size: Size of the convolving kernel, in pixels.
        stride: Stride, in pixels.
        padding: Padding on both sides, in pixels.
        dilation: Spacing of the kernel's elements, in pixels.
        groups: Blocked connections from input to output channels.
        bias: True, False, or ``'auto'``: only where no norm follows.
        conv_cfg: Convolution layer, a 2D convolution by default.
        norm_cfg: Norm layer, none by default.
        act_cfg: Activation layer, ReLU by default; None for none. It should let through what the teacher's feature
            map holds: no ReLU before a map with negative values.
        inplace: Let the activation work in place, unless it comes first and would overwrite the record.
        with_spectral_norm: Normalise the convolution's weight spectrally.
        padding_mode: ``'zeros'``, ``'reflect'``, ``'replicate'`` or ``'circular'``.
        order: The order of ``'conv'``, ``'norm'`` and ``'act'``, each once.
        init_cfg: Initialisation of mmengine.

    Example:
        >>> connector = ConvModuleConnector(256, 1024, norm_cfg=dict(type='BN'))
        >>> connector(torch.rand(2, 256, 14, 14)).shape
        torch.Size([2, 1024, 14, 14])
    """

    def __init__(
        self,
        in_channel: int,
        out_channel: int,
        kernel_size: int | tuple[int, int] = 1,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool | str = 'auto',
        conv_cfg: dict[str, Any] | None = None,
        norm_cfg: dict[str, Any] | None = None,
        act_cfg: dict[str, Any] | None = dict(type='ReLU'),  # noqa: B006
        inplace: bool = True,
        with_spectral_norm: bool = False,
        padding_mode: str = 'zeros',
        order: tuple[str, str, str] = ('conv', 'norm', 'act'),
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.conv_module = ConvModule(
            in_channel,
            out_channel,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            conv_cfg,
            norm_cfg,
            act_cfg,
            inplace,
            with_spectral_norm,
            padding_mode,
            tuple(order),
        )
        if self._begins_with_activation(order) and getattr(self.conv_module.activate, 'inplace', False):
            self.conv_module.activate.inplace = False
        # mmcv would initialise over what init_cfg asked for
        self.conv_module.is_init = init_cfg is not None

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """Convert a feature map.

        Args:
            feature: (N, in_channel, H, W).

        Returns:
            (N, out_channel, H', W'), where H' and W' follow from kernel, stride, padding and dilation.
        """
        return self.conv_module(feature)

    def _begins_with_activation(self, order: Iterable[str]) -> bool:
        there = {'conv': True, 'norm': self.conv_module.with_norm, 'act': self.conv_module.with_activation}
        return next(name for name in order if there[name]) == 'act'
