"""Cross entropy with the labels, twice: of the scores as they are, and of the scores at a temperature."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from kd_plugins.arguments import require_positive, require_rank
from kd_plugins.errors import Fault, UserError
from kd_plugins.losses.float32 import in_float32
from kd_plugins.registry import MODELS


@MODELS.register_module()
class SoftenedCrossEntropy(nn.Module):
    r"""A classifier's loss without a teacher, as a control of distillation: softened scores, hard labels.

    .. math:: L = w \left(\mathrm{CE}(z, y) + \tau^2 \, \mathrm{CE}(z / \tau, y)\right)

    What distillation adds to the labels has the same temperature and the same factor, but the teacher's probabilities
    in place of :math:`y`. So the difference between both is the teacher's.

    For ``head=dict(loss=dict(type='kd_plugins.SoftenedCrossEntropy', tau=5))``.

    Softened scores: Distilling the Knowledge in a Neural Network, https://arxiv.org/abs/1503.02531

    Args:
        tau: Temperature, above 0; the higher, the softer the probabilities.
        loss_weight: Weight w of the loss.

    Raises:
        UserError: ``tau`` is not above 0.

    Example:
        >>> loss = SoftenedCrossEntropy(tau=2.0)
        >>> loss(torch.zeros(2, 10), torch.tensor([3, 7]))
        tensor(11.5129)
    """

    def __init__(self, tau: float, loss_weight: float = 1.0) -> None:
        super().__init__()
        require_positive('tau', tau, 'usual values are 1 to 20')
        self.tau = tau
        self.loss_weight = loss_weight

    @in_float32
    def forward(
        self,
        cls_score: torch.Tensor,
        label: torch.Tensor,
        weight: torch.Tensor | None = None,
        avg_factor: float | torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Compare scores with labels, as a head of mmpretrain asks for it.

        Args:
            cls_score: Logits, (N, C).
            label: Classes (N), or a probability for each class (N, C).
            weight: Weights of the samples, (N).
            avg_factor: What the sum is divided by instead of N, above 0.
            **kwargs: What the head passes on; not used.

        Returns:
            A scalar; zero, and still connected to the graph, for an empty batch.

        Raises:
            UserError: The shapes do not fit.
        """
        require_rank('cls_score', cls_score, (2,), 'logits (N, C)', 'give one row of scores a sample')
        if label.shape not in (cls_score.shape[:1], cls_score.shape):
            expected = f'classes {tuple(cls_score.shape[:1])} or probabilities {tuple(cls_score.shape)}'
            raise UserError(Fault('label', expected, str(tuple(label.shape)), 'give one label a sample'))
        if weight is not None and weight.shape != cls_score.shape[:1]:
            expected = f'one number a sample, {tuple(cls_score.shape[:1])}'
            raise UserError(Fault('weight', expected, str(tuple(weight.shape)), 'classes have no weights of their own'))
        if cls_score.numel() == 0:
            return cls_score.sum() * 0

        softened = F.cross_entropy(cls_score / self.tau, label, reduction='none')  # (N, C) -> (N)
        entropy = F.cross_entropy(cls_score, label, reduction='none') + self.tau**2 * softened
        if weight is not None:
            entropy = entropy * weight
        return self.loss_weight * entropy.sum() / (len(cls_score) if avg_factor is None else avg_factor)
