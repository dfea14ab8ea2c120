"""The difference of two maps whose channels are brought to mean 0 and variance 1, in few passes."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

# added to the standard deviation, as the authors of PKD do
EPSILON = 1e-6


def standard_difference(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Difference of two maps, each of whose channels has mean 0 and variance 1 over the batch and its positions.

    A channel that is the same everywhere, but for rounding, becomes zero, without gradient.

    Args:
        student: (N, C, H, W) or (N, C, T, H, W), in any order in memory.
        teacher: Of the same shape.

    Returns:
        Of the same shape. Gradient flows to both sides, and further to gradients of gradients.
    """
    return _StandardDifference.apply(student, teacher)


class _Channels(NamedTuple):
    """What standardises a map, each (1, C, 1, 1): ``(map - mean) * scale``; ``bend`` is how the scale gives way."""

    mean: torch.Tensor
    scale: torch.Tensor
    bend: torch.Tensor


class _StandardDifference(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        ours, theirs = _channels(student), _channels(teacher)
        ctx.save_for_backward(student, teacher, *ours, *theirs)
        difference = (student - ours.mean).mul_(ours.scale)
        return difference.addcmul_(teacher - theirs.mean, theirs.scale, value=-1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        student, teacher, *saved = ctx.saved_tensors
        ours, theirs = _Channels(*saved[:3]), _Channels(*saved[3:])
        if torch.is_grad_enabled():
            # for the gradient of this gradient, they are functions of the maps
            ours, theirs = _channels(student), _channels(teacher)
        s_wanted, t_wanted = ctx.needs_input_grad
        return (
            _across(student, ours, gradient) if s_wanted else None,
            _across(teacher, theirs, -gradient) if t_wanted else None,
        )


def _channels(feature: torch.Tensor) -> _Channels:
    dims = _but_channels(feature)
    count = feature.numel() // feature.shape[1]
    # the variance of one number is 0, not 0 / 0
    variance, mean = torch.var_mean(feature, dim=dims, correction=min(1, count - 1), keepdim=True)
    constant = variance.sqrt() <= 4 * torch.finfo(feature.dtype).eps * mean.abs()
    deviation = variance.masked_fill(constant, 1).sqrt()
    scale = (deviation + EPSILON).reciprocal().masked_fill(constant, 0)
    return _Channels(mean, scale, scale**2 / (deviation * max(1, count - 1)))


def _across(feature: torch.Tensor, channels: _Channels, gradient: torch.Tensor) -> torch.Tensor:
    """Gradient of the standardised map: what of it moves the mean or the variance alone does not count."""
    dims = _but_channels(feature)
    centred = feature - channels.mean
    along = (gradient * centred).sum(dim=dims, keepdim=True) * channels.bend
    return (gradient - gradient.mean(dim=dims, keepdim=True)) * channels.scale - centred * along


def _but_channels(feature: torch.Tensor) -> tuple[int, ...]:
    return (0, *range(2, feature.dim()))
