"""Kullback-Leibler divergence of softened sigmoids, for predictions of several labels an image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from kd_plugins.arguments import require_choice, require_positive, require_rank
from kd_plugins.losses.divergence import divergence
from kd_plugins.losses.float32 import in_float32
from kd_plugins.losses.shapes import check_same_shape
from kd_plugins.registry import MODELS

REDUCTIONS = ('batchmean', 'mean', 'sum', 'none')
# logits beyond, -inf among them, would give a loss of infinity or NaN; the square root of the largest float32
LIMIT = 1.8e19


@MODELS.register_module()
class BinaryKLDivergence(nn.Module):
    r"""Divergence of the student's softened probabilities from the teacher's, of each class by itself.

    A multi-label head decides for each class whether it is there. With :math:`q = \mathrm{sigmoid}(z / \tau)`, each
    class is a distribution over yes and no:

    .. math::
        L = w \tau^2 \sum_c \Big( q^T_c \log \frac{q^T_c}{q^S_c} + (1 - q^T_c) \log \frac{1 - q^T_c}{1 - q^S_c} \Big)

    reduced over the batch. The gradient for a logit is :math:`w \tau (q^S_c - q^T_c)`; the factor tau squared keeps its
    size when tau changes. :class:`KLDivergence` compares a softmax over the classes, which compete for one label there.

    Paper: Multi-Label Knowledge Distillation, https://arxiv.org/abs/2308.06453. Its logit part, MLD, is this loss with
    ``tau=1``; the authors' config for COCO weighs it by 10, beside losses of the embeddings of each label.

    Args:
        tau: Temperature, above 0; the higher, the closer the probabilities are to 1/2.
        reduction: ``'batchmean'``: divide the sum by N. ``'mean'``: divide by the number of elements, which over C
            classes weakens the loss C-fold. ``'sum'``: grows with the batch. ``'none'``: keep the elements.
        loss_weight: Weight w of the loss.
        teacher_detach: Send no gradient into the teacher's predictions.

    Raises:
        UserError: ``tau`` is not above 0, or ``reduction`` is unknown.

    Example:
        >>> loss = BinaryKLDivergence(tau=2.0)
        >>> loss(torch.zeros(2, 20), torch.zeros(2, 20))
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
        require_positive('tau', tau, 'usual values are 1 to 4')
        require_choice('reduction', reduction, REDUCTIONS, "'batchmean' is the usual one")
        self.tau = tau
        self.reduction = reduction
        self.loss_weight = loss_weight
        self.teacher_detach = teacher_detach

    @in_float32
    def forward(self, preds_S: torch.Tensor, preds_T: torch.Tensor) -> torch.Tensor:  # noqa: N803
        """Compare two predictions.

        Args:
            preds_S: Student's logits, before the sigmoid, (N, C) or (N, C, H, W).
            preds_T: Teacher's logits, of the same shape.

        Returns:
            A scalar, or a tensor of the shape of the input for ``reduction='none'``. Zero, and still connected to
            the graph, for an empty batch.

        Raises:
            UserError: The shapes differ, or have no classes.
        """
        check_same_shape(preds_S=preds_S, preds_T=preds_T)
        require_rank('preds_S', preds_S, (2, 3, 4, 5), 'logits (N, C) or (N, C, H, W)', 'record what the head returns')
        if self.teacher_detach:
            preds_T = preds_T.detach()  # noqa: N806
        if preds_S.numel() == 0:
            return (preds_S.sum() + preds_T.sum()) * 0

        student, teacher = ((logits / self.tau).clamp(-LIMIT, LIMIT) for logits in (preds_S, preds_T))
        yes = divergence(F.logsigmoid(student), F.logsigmoid(teacher))
        no = divergence(F.logsigmoid(-student), F.logsigmoid(-teacher))
        return self.loss_weight * self.tau**2 * self._reduce(yes + no)

    def effective_weight(self, preds_S: torch.Tensor) -> float:  # noqa: N803
        """What ``loss_weight`` amounts to beside ``reduction='batchmean'``.

        Args:
            preds_S: Student's logits, (N, C) or (N, C, H, W).
        """
        if self.reduction != 'mean' or preds_S.numel() == 0:
            return self.loss_weight
        return self.loss_weight * preds_S.shape[0] / preds_S.numel()

    def _reduce(self, elements: torch.Tensor) -> torch.Tensor:
        if self.reduction == 'batchmean':
            return elements.sum() / elements.shape[0]
        if self.reduction == 'mean':
            return elements.mean()
        return elements.sum() if self.reduction == 'sum' else elements
