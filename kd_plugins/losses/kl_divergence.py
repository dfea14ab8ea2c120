"""Kullback-Leibler divergence of softened predictions, the loss of the first distillation paper."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from kd_plugins.arguments import require_choice, require_positive
from kd_plugins.losses.divergence import divergence
from kd_plugins.losses.float32 import in_float32
from kd_plugins.losses.shapes import check_same_shape
from kd_plugins.registry import MODELS

REDUCTIONS = ('batchmean', 'mean', 'sum', 'none')


@MODELS.register_module()
class KLDivergence(nn.Module):
    r"""Divergence of the student's softened class probabilities from the teacher's.

    With :math:`p = \mathrm{softmax}(z / \tau)` over the classes:

    .. math:: L = w \tau^2 \sum_c p^T_c (\log p^T_c - \log p^S_c)

    reduced over the batch. The factor tau squared keeps the size of the gradient when tau changes.

    Paper: Distilling the Knowledge in a Neural Network, https://arxiv.org/abs/1503.02531

    Args:
        tau: Temperature, above 0; the higher, the softer the probabilities.
        reduction: ``'batchmean'``: divide the sum by N. ``'mean'``: divide by the number of elements, which over C
            classes weakens the loss C-fold. ``'sum'``; ``'none'``: keep the elements.
        loss_weight: Weight w of the loss.
        teacher_detach: Send no gradient into the teacher's predictions. Data-free methods set it to False.

    Raises:
        UserError: ``tau`` is not above 0, or ``reduction`` is unknown.

    Example:
        >>> loss = KLDivergence(tau=4.0)
        >>> loss(torch.zeros(2, 10), torch.zeros(2, 10))
        tensor(0.)
    """

    def __init__(
        self,
        tau: float = 1.0,
        reduction: str = 'batchmean',
        loss_weight: float = 1.0,
        teacher_detach: bool = True,
    ) -> None:
        super().__init__()
        require_positive('tau', tau, 'usual values are 1 to 20')
        require_choice('reduction', reduction, REDUCTIONS, "'batchmean' is the usual one")
        self.tau = tau
        self.reduction = reduction
        self.loss_weight = loss_weight
        self.teacher_detach = teacher_detach

    @in_float32
    def forward(self, preds_S: torch.Tensor, preds_T: torch.Tensor) -> torch.Tensor:  # noqa: N803
        """Compare two predictions.

        Args:
            preds_S: Student's logits, (N, C) or (N, C, H, W).
            preds_T: Teacher's logits, of the same shape.

        Returns:
            A scalar, or a tensor of the shape of the input for ``reduction='none'``. Zero, and still connected to
            the graph, for an empty batch.

        Raises:
            UserError: The shapes differ.
        """
        check_same_shape(preds_S=preds_S, preds_T=preds_T)
        if self.teacher_detach:
            preds_T = preds_T.detach()  # noqa: N806
        if preds_S.numel() == 0:
            return (preds_S.sum() + preds_T.sum()) * 0

        student = F.log_softmax(preds_S / self.tau, dim=1)
        teacher = F.log_softmax(preds_T / self.tau, dim=1)
        return self.loss_weight * self.tau**2 * self._reduce(divergence(student, teacher))

    def effective_weight(self, preds_S: torch.Tensor) -> float:  # noqa: N803
        """What ``loss_weight`` amounts to beside ``reduction='batchmean'``.

        Args:
            preds_S: Student's logits, (N, C) or (N, C, H, W).
        """
        if self.reduction != 'mean' or preds_S.numel() == 0:
            return self.loss_weight
        return self.loss_weight * preds_S.shape[0] / preds_S.numel()

    def _reduce(self, elements: torch.Tensor) -> torch.Tensor:
        # not left to F.kl_div, whose 'mean' is announced to become 'batchmean'
        if self.reduction == 'batchmean':
            return elements.sum() / elements.shape[0]
        if self.reduction == 'mean':
            return elements.mean()
        return elements.sum() if self.reduction == 'sum' else elements
