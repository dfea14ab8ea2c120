"""Activation boundaries: which neurons fire, instead of how strongly."""

from __future__ import annotations

import torch
from torch import nn

from kd_plugins.arguments import require_rank
from kd_plugins.losses.float32 import in_float32
from kd_plugins.losses.shapes import check_same_shape
from kd_plugins.registry import MODELS

# scale of the authors' code
SCALE = 3 / 1000
RANKS = range(2, 7)


@MODELS.register_module()
class ABLoss(nn.Module):
    r"""Squared hinge that puts the student's neurons on the side of zero where the teacher's are.

    With features s and t before their ReLU, and the margin :math:`\mu`:

    .. math::
        L = \frac{3 w}{1000 N} \sum \begin{cases}
            \max(0, \mu - s)^2 & t > 0 \\ \max(0, \mu + s)^2 & t \le 0 \end{cases}

    Gradient flows into the student's features only: the teacher's count by their sign.

    Paper: Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden Neurons,
    https://arxiv.org/abs/1811.03233

    Args:
        loss_weight: Weight w of the loss.
        margin: How far beyond zero a neuron has to be.

    Example:
        >>> loss = ABLoss()
        >>> loss(torch.full((2, 10), 0.5), -torch.ones(2, 10))
        tensor(0.0675)
    """

    def __init__(self, loss_weight: float = 1.0, margin: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.margin = margin

    @in_float32
    def forward(self, s_feature: torch.Tensor, t_feature: torch.Tensor) -> torch.Tensor:
        """Compare two features.

        Args:
            s_feature: Student's feature before its ReLU, (N, C), (N, C, H, W) or any other shape up to rank 6 that
                starts with N.
            t_feature: Teacher's feature before its ReLU, of the same shape.

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

        missing = torch.where(t_feature > 0, self.margin - s_feature, self.margin + s_feature).relu()
        return self.loss_weight * SCALE * missing.square().sum() / s_feature.shape[0]
