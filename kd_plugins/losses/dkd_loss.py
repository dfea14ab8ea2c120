"""Decoupled knowledge distillation: the target class apart from the others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from kd_plugins.arguments import require_choice, require_positive, require_rank
from kd_plugins.losses.divergence import divergence
from kd_plugins.losses.float32 import in_float32
from kd_plugins.losses.labels import ADVICE, LABELS, class_indices
from kd_plugins.losses.shapes import check_same_shape
from kd_plugins.registry import MODELS

REDUCTIONS = ('batchmean', 'mean', 'sum', 'none')


@MODELS.register_module()
class DKDLoss(nn.Module):
    r"""The divergence of :class:`KLDivergence`, split in two parts that are weighed apart.

    With :math:`p = \mathrm{softmax}(z / \tau)` over the classes and the true class y:

    .. math::
        \text{TCKD} &= \mathrm{KL}\big( (p^T_y, 1 - p^T_y) \,\Vert\, (p^S_y, 1 - p^S_y) \big) \\
        \text{NCKD} &= \mathrm{KL}\big( \hat p^T \,\Vert\, \hat p^S \big), \qquad
        \hat p = \mathrm{softmax}(z / \tau) \text{ over the classes other than } y \\
        L &= w \tau^2 (\alpha \, \text{TCKD} + \beta \, \text{NCKD})

    for each sample, reduced over the batch. With two classes there is one other, so NCKD is 0. Gradient flows into both
    predictions; a frozen teacher's carry none.

    Paper: Decoupled Knowledge Distillation, https://arxiv.org/abs/2203.08679

    Args:
        tau: Temperature, above 0; the higher, the softer the probabilities.
        alpha: Weight of TCKD, what is said of the true class.
        beta: Weight of NCKD, what is said of the others.
        reduction: ``'batchmean'`` or ``'mean'``: over the samples, as in the paper. ``'sum'``: N times that, which
            grows with the batch; MMRazor computes it for ``'mean'`` and ``'none'`` too. ``'none'``: one value a sample.
        loss_weight: Weight w of the loss.
        labels: ``'index'``: the labels are class indices. ``'argmax'``: they may also be the probabilities of a batch
            that Mixup or CutMix has mixed, of which the true class is the one with the larger part.

    Raises:
        UserError: ``tau`` is not above 0, or ``reduction`` or ``labels`` is unknown.

    Example:
        >>> loss = DKDLoss(beta=8.0)
        >>> loss(torch.zeros(2, 10), torch.zeros(2, 10), torch.tensor([3, 7]))
        tensor(0.)
    """

    def __init__(
        self,
        tau: float = 1.0,
        alpha: float = 1.0,
        beta: float = 1.0,
        reduction: str = 'batchmean',
        loss_weight: float = 1.0,
        labels: str = 'index',
    ) -> None:
        super().__init__()
        require_positive('tau', tau, 'usual values are 1 to 4')
        require_choice('reduction', reduction, REDUCTIONS, "'batchmean' is the usual one")
        require_choice('labels', labels, LABELS, ADVICE)
        self.tau = tau
        self.alpha = alpha
        self.beta = beta
        self.reduction = reduction
        self.loss_weight = loss_weight
        self.labels = labels

    @in_float32
    def forward(
        self,
        preds_S: torch.Tensor,  # noqa: N803
        preds_T: torch.Tensor,  # noqa: N803
        gt_labels: torch.Tensor,
    ) -> torch.Tensor:
        """Compare two predictions.

        Args:
            preds_S: Student's logits, (N, C).
            preds_T: Teacher's logits, of the same shape.
            gt_labels: True classes, (N) integers in [0, C); with ``labels='argmax'`` also probabilities (N, C).

        Returns:
            A scalar, or (N) for ``reduction='none'``. Zero, and still connected to the graph, for an empty batch.

        Raises:
            UserError: The shapes differ, or the labels are not one class per sample.
        """
        check_same_shape(preds_S=preds_S, preds_T=preds_T)
        require_rank('preds_S', preds_S, (2,), 'logits (N, C)', 'record what the head returns, one row a sample')
        gt_labels = class_indices(gt_labels, preds_S, self.labels)
        if preds_S.numel() == 0:
            return (preds_S.sum() + preds_T.sum()) * 0

        s_target, s_others = _split(preds_S / self.tau, gt_labels)
        t_target, t_others = _split(preds_T / self.tau, gt_labels)
        # (N, 2) and (N, C) -> (N)
        target, others = divergence(s_target, t_target).sum(dim=1), divergence(s_others, t_others).sum(dim=1)
        return self.loss_weight * self.tau**2 * self._reduce(self.alpha * target + self.beta * others)

    def _reduce(self, samples: torch.Tensor) -> torch.Tensor:
        if self.reduction == 'none':
            return samples
        return samples.sum() if self.reduction == 'sum' else samples.mean()


def _split(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (N, C) -> log probabilities of target or not, (N, 2), and of the classes other than the target, (N, C)."""
    labels = labels.long().unsqueeze(1)  # (N) -> (N, 1)
    target = logits.gather(1, labels)
    # not -inf, whose product with a probability of 0 is NaN
    others = logits.scatter(1, labels, torch.finfo(logits.dtype).min)
    binary = torch.cat([target, others.logsumexp(dim=1, keepdim=True)], dim=1)
    return F.log_softmax(binary, dim=1), F.log_softmax(others, dim=1)
