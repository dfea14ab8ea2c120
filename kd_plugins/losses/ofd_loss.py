"""Overhaul of feature distillation: the partial L2 distance."""

from __future__ import annotations

import torch
from torch import nn

from kd_plugins.arguments import require_positive, require_rank
from kd_plugins.losses.float32 import in_float32
from kd_plugins.losses.shapes import check_same_shape
from kd_plugins.registry import MODELS

RANKS = range(2, 7)


@MODELS.register_module()
class OFDLoss(nn.Module):
    r"""Squared distance of two features before their ReLU, leaving out what the ReLU hides anyway.

    .. math::
        L = \frac{w}{N m} \sum \begin{cases} 0 & s \le t \le 0 \\ (s - t)^2 & \text{otherwise} \end{cases}

    with the teacher's feature t after the margin ReLU of ``OFDTeacherConnector``.

    Gradient flows into both features; a frozen teacher's carries none.

    Paper: A Comprehensive Overhaul of Feature Distillation, https://arxiv.org/abs/1904.01866

    Args:
        loss_weight: Weight w of the loss.
        mul_factor: Divisor m of the loss, above 0: 1000 for the last stage, doubled for each stage before it.

    Raises:
        UserError: ``mul_factor`` is not above 0.

    Example:
        >>> loss = OFDLoss(mul_factor=1)
        >>> loss(torch.tensor([[-3.0, 2.0]]), torch.tensor([[-1.0, 5.0]]))
        tensor(9.)
    """

    def __init__(self, loss_weight: float = 1.0, mul_factor: float = 1000.0) -> None:
        super().__init__()
        require_positive('mul_factor', mul_factor, 'the default is 1000')
        self.loss_weight = loss_weight
        self.mul_factor = mul_factor

    @in_float32
    def forward(self, s_feature: torch.Tensor, t_feature: torch.Tensor) -> torch.Tensor:
        """Compare two features.

        Args:
            s_feature: Student's feature, (N, C), (N, C, H, W) or any other shape up to rank 6 that
                starts with N.
            t_feature: Teacher's feature, of the same shape.

        Returns:
            A scalar; zero, and still connected to the graph, for an empty batch.

        Raises:
            UserError: The shapes differ, or these are no features of samples.
        """
        check_same_shape(s_feature=s_feature, t_feature=t_feature)
        expected = 'a feature (N, C), (N, C, H, W) or alike'
        require_rank('s_feature', s_feature, RANKS, expected, 'record a stage before its ReLU')
        if s_feature.numel() == 0:
            return (s_feature.sum() + t_feature.sum()) * 0

        hidden = (s_feature <= t_feature) & (t_feature <= 0)
        distance = (s_feature - t_feature).masked_fill(hidden, 0).square().sum()
        return self.loss_weight * distance / s_feature.shape[0] / self.mul_factor
