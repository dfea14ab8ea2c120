"""Attention transfer: where a model looks, whatever its channels."""

from __future__ import annotations

import torch
from torch import nn

from kd_plugins.arguments import require_rank
from kd_plugins.errors import Fault, UserError
from kd_plugins.losses.float32 import in_float32
from kd_plugins.losses.unit_length import to_unit_length
from kd_plugins.registry import MODELS

RANKS = (4, 5)
EXPECTED = 'a map (N, C, H, W) or (N, C, T, H, W)'
ADVICE = 'record a stage of the backbone before its pooling; tokens become a map with a TokensToMapConnector'


@MODELS.register_module()
class ATLoss(nn.Module):
    r"""Squared distance of the student's and the teacher's attention maps.

    The attention of sample n is the energy of its channels at each position, as a vector :math:`Q_n` of HW numbers:

    .. math::
        L = \frac{w}{N H W} \sum_n \Big\lVert \frac{Q^S_n}{\lVert Q^S_n \rVert_2}
        - \frac{Q^T_n}{\lVert Q^T_n \rVert_2} \Big\rVert_2^2,
        \qquad Q_n = \frac{1}{C} \sum_c x_{nc}^2

    The channels of both sides may differ. Gradient flows into both features; a frozen teacher's carries none, nor does
    a feature that is zero everywhere.

    Paper: Paying More Attention to Attention: Improving the Performance of Convolutional Neural Networks via Attention
    Transfer, https://arxiv.org/abs/1612.03928

    Args:
        loss_weight: Weight w of the loss.

    Example:
        >>> loss = ATLoss()
        >>> loss(torch.ones(2, 16, 7, 7), torch.full((2, 64, 7, 7), 3.0))
        tensor(0.)
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    @in_float32
    def forward(self, s_feature: torch.Tensor, t_feature: torch.Tensor) -> torch.Tensor:
        """Compare two feature maps.

        Args:
            s_feature: Student's feature map, (N, C, H, W) or (N, C, T, H, W).
            t_feature: Teacher's feature map, of the same shape but for C.

        Returns:
            A scalar; zero, and still connected to the graph, for an empty batch.

        Raises:
            UserError: The shapes differ in more than C, or these are no maps.
        """
        require_rank('s_feature', s_feature, RANKS, EXPECTED, ADVICE)
        require_rank('t_feature', t_feature, RANKS, EXPECTED, ADVICE)
        _check_same_positions(s_feature, t_feature)
        if s_feature.numel() == 0:
            return (s_feature.sum() + t_feature.sum()) * 0

        return self.loss_weight * (_attention(s_feature) - _attention(t_feature)).square().mean()


def _attention(feature: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) -> (N, HW), of length 1."""
    return to_unit_length(feature.square().mean(dim=1).flatten(1))


def _check_same_positions(s_feature: torch.Tensor, t_feature: torch.Tensor) -> None:
    student, teacher = tuple(s_feature.shape), tuple(t_feature.shape)
    if (student[0], student[2:]) == (teacher[0], teacher[2:]):
        return
    if len(student) != len(teacher):
        advice = 'their ranks differ: record the same kind of map on both sides'
    elif student[0] != teacher[0]:
        advice = 'the batch sizes differ: both models must have seen the same batch'
    else:
        advice = "heights or widths differ: record stages of the same stride, or add connector='auto' to the loss"
    got = f's_feature {student} (student) and t_feature {teacher} (teacher)'
    raise UserError(Fault('', 'maps of the same batch and size', got, advice))
