"""Channels last in memory: the layout (N, H, W, C) under the shape (N, C, H, W), which convolutions run fastest in."""

from __future__ import annotations

import sys
from types import MethodType
from typing import Any, TypeVar

import torch
from torch import nn
from torch.autograd import Function

T = TypeVar('T')

OPERATORS = 'mmcv.ops'
# takes a table of classes, not feature maps
FLAT = f'{OPERATORS}.focal_loss'


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


def reads_in_order(model: nn.Module) -> bool:
    """Whether a model has operators that read feature maps, or gradients, as contiguous ones.

    Most operators of mmcv do. They compute something else on others, and do not say so. Their layers are found, and the
    files of layers that call them as functions. On a CPU, PyTorch's GroupNorm is one behind frozen layers.

    Args:
        model: Any model.
    """
    kinds = {kind for module in model.modules() for kind in type(module).__mro__}
    return _has_group_norm_behind_frozen_layers(model) or any(
        _is_operator(kind) or _calls_operators(sys.modules.get(kind.__module__)) for kind in kinds
    )


def _has_group_norm_behind_frozen_layers(model: nn.Module) -> bool:
    """Whether PyTorch's GroupNorm (2.11, on a CPU) cannot be trusted with other layouts than that of the shapes.

    Where a part of the model is frozen, such as the patch embedding of mmpretrain's PoolFormer by default, its backward
    can end the process.
    """
    learns = {parameter.requires_grad for parameter in model.parameters()}
    norms = any(isinstance(module, nn.GroupNorm) for module in model.modules())
    return norms and len(learns) == 2 and not torch.cuda.is_available()


def _is_operator(kind: type) -> bool:
    return f'{kind.__module__}.'.startswith(f'{OPERATORS}.') and kind.__module__ != FLAT


def _calls_operators(file: Any) -> bool:
    """Whether a file has an operator as a function, the ``apply`` of a ``torch.autograd.Function``."""
    methods = [value for value in getattr(file, '__dict__', {}).values() if isinstance(value, MethodType)]
    owners = [method.__self__ for method in methods]
    return any(isinstance(owner, type) and issubclass(owner, Function) and _is_operator(owner) for owner in owners)


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
