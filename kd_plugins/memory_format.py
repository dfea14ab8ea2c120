"""Channels last in memory: the layout (N, H, W, C) under the shape (N, C, H, W), which convolutions run fastest in."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

T = TypeVar('T')


def store_channels_last(model: nn.Module) -> None:
    """Lay out the weights of 2D convolutions so; values, shapes and parameters stay the same.

    Args:
        model: Any model; the weights of other layers stay as they are.
    """
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and not nn.parameter.is_lazy(module.weight):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)


def store_contiguous(model: nn.Module) -> None:
    """Undo :func:`store_channels_last`."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and not nn.parameter.is_lazy(module.weight):
            module.weight.data = module.weight.data.contiguous()


def wants_contiguous(error: Exception) -> bool:
    """Whether a model failed because ``view``, or an operator of mmcv, takes a feature map for a contiguous one."""
    return any(words in str(error) for words in ('view size is not compatible', 'must be contiguous'))


def to_channels_last(batch: T) -> T:
    """A batch laid out so, if it is one of images; anything else as it is.

    Args:
        batch: (N, C, H, W), or whatever else a model takes.
    """
    if isinstance(batch, torch.Tensor) and batch.dim() == 4:
        return batch.contiguous(memory_format=torch.channels_last)  # type: ignore[return-value]
    return batch


def to_contiguous(batch: T) -> T:
    """A batch in the layout that its shape says, if it is one of images; anything else as it is.

    Args:
        batch: (N, C, H, W), or whatever else a model takes.
    """
    if isinstance(batch, torch.Tensor) and batch.dim() == 4:
        return batch.contiguous()  # type: ignore[return-value]
    return batch
