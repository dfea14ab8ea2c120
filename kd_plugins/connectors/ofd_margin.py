"""Margin below which overhaul feature distillation takes no notice of a teacher's response."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from kd_plugins.errors import Fault, UserError

# a channel that is negative less often has no expectation worth the name
RARELY = 0.001


@torch.no_grad()
def batch_norm_margin(norm: nn.Module) -> torch.Tensor:
    r"""The expectation of the negative responses of each channel after a BatchNorm.

    A BatchNorm gives a channel the mean :math:`\mu` and the standard deviation :math:`\sigma`, its bias and the
    absolute value of its weight. Of a normal distribution,

    .. math:: m = E[x \mid x < 0] = \mu - \sigma \frac{\varphi(\mu / \sigma)}{\Phi(-\mu / \sigma)}

    is computed in float64 with a scaled error function, which neither overflows nor divides 0 by 0. A channel that is
    negative in no more than one case of a thousand gets :math:`-3 \sigma`, as in the code of the paper's authors.

    Paper: A Comprehensive Overhaul of Feature Distillation, https://arxiv.org/abs/1904.01866

    Args:
        norm: A BatchNorm with weight and bias, (C) each.

    Returns:
        (1, C, 1, 1) on the BatchNorm's device and in its precision, at most 0.

    Raises:
        UserError: ``norm`` is another module, or a BatchNorm without weight and bias.

    Example:
        >>> batch_norm_margin(nn.BatchNorm2d(2)).flatten()
        tensor([-0.7979, -0.7979])
    """
    if not isinstance(norm, _BatchNorm) or not norm.affine:
        advice = "record the output of a BatchNorm of the teacher: source='backbone.bn1'"
        raise UserError(Fault('norm', 'a BatchNorm with weight and bias', str(norm), advice))
    std, mean = norm.weight.double().abs(), norm.bias.double()
    ratio = mean / std.clamp_min(torch.finfo(std.dtype).tiny)
    # phi(r) / Phi(-r) = sqrt(2 / pi) / erfcx(r / sqrt(2))
    expectation = mean - std * math.sqrt(2 / math.pi) / torch.special.erfcx(ratio / math.sqrt(2))
    margin = torch.where(torch.special.ndtr(-ratio) > RARELY, expectation, -3 * std)
    return margin.to(norm.weight.dtype).view(1, -1, 1, 1)  # (C) -> (1, C, 1, 1)
