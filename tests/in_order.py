"""A layer that reads memory as most operators of mmcv do: in the order of the shape, whatever the strides say."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd import Function
from toy import ToyClassifier


class InOrder(nn.Module):
    """Returns its feature map as it finds it, and hands the gradient back so."""

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        return _InOrder.apply(feature)


# all by which such an operator can be told
InOrder.__module__ = 'mmcv.ops.in_order'


class ToyInOrder(ToyClassifier):
    """A classifier with such a layer, as a detector of two stages has it."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.bn = nn.Sequential(self.bn, InOrder())


class _InOrder(Function):
    @staticmethod
    def forward(ctx: Any, feature: torch.Tensor) -> torch.Tensor:
        return _read(feature)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _read(gradient)


def _read(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.as_strided(tensor.shape, torch.empty(tensor.shape, device='meta').stride()).clone()
