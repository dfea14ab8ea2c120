"""Cross entropy with the teacher's softened predictions as labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from kd_plugins.arguments import require_choice, require_positive, require_rank
from kd_plugins.errors import Fault, UserError
from kd_plugins.losses.float32 import in_float32
from kd_plugins.losses.shapes import check_same_shape
from kd_plugins.registry import MODELS

REDUCTIONS = ('none', 'mean', 'sum')


@MODELS.register_module()
class KDSoftCELoss(nn.Module):
    r"""Cross entropy of the student's softened class probabilities with the teacher's.

    With :math:`p = \mathrm{softmax}(z / \tau)` over the classes, for each sample:

    .. math:: L = -w \tau^2 \sum_c p^T_c \log p^S_c

    reduced over the samples. It has the student's gradient of :class:`KLDivergence`, and lies above it by the entropy
    of the teacher's probabilities. Gradient flows into both predictions; a frozen teacher's carry none.

    Paper: Distilling the Knowledge in a Neural Network, https://arxiv.org/abs/1503.02531

    Args:
        tau: Temperature, above 0; the higher, the softer the probabilities.
        reduction: ``'mean'``: over the samples. ``'sum'``; ``'none'``: keep one value a sample.
        mult_tem_square: Multiply by tau squared, which keeps the size of the gradient when tau changes.
        loss_weight: Weight w of the loss.

    Raises:
        UserError: ``tau`` is not above 0, or ``reduction`` is unknown.

    Example:
        >>> loss = KDSoftCELoss(tau=1.0)
        >>> loss(torch.zeros(2, 10), torch.zeros(2, 10))
        tensor(2.3026)
    """

    def __init__(
        self,
        tau: float = 1.0,
        reduction: str = 'mean',
        mult_tem_square: bool = True,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        require_positive('tau', tau, 'usual values are 1 to 20')
        require_choice('reduction', reduction, REDUCTIONS, "'mean' is the usual one")
        self.tau = tau
        self.reduction = reduction
        self.mult_tem_square = mult_tem_square
        self.loss_weight = loss_weight

    @in_float32
    def forward(
        self,
        preds_S: torch.Tensor,  # noqa: N803
        preds_T: torch.Tensor,  # noqa: N803
        weight: torch.Tensor | None = None,
        avg_factor: float | torch.Tensor | None = None,
        reduction_override: str | None = None,
    ) -> torch.Tensor:
        """Compare two predictions.

        Args:
            preds_S: Student's logits, (N, C), or (N, L, C) of L tokens or boxes.
            preds_T: Teacher's logits, of the same shape.
            weight: Weights of the samples, (N) or (N, L).
            avg_factor: What ``'mean'`` divides by instead of the number of samples, above 0.
            reduction_override: Takes the place of ``reduction``.

        Returns:
            A scalar, or (N) or (N, L) for ``'none'``. Zero, and still connected to the graph, for an empty batch.

        Raises:
            UserError: The shapes do not fit, ``reduction_override`` is unknown, or there is an ``avg_factor`` for a
                ``'sum'``.
        """
        check_same_shape(preds_S=preds_S, preds_T=preds_T)
        require_rank('preds_S', preds_S, (2, 3), 'logits (N, C) or (N, L, C)', 'KLDivergence takes maps of logits')
        reduction = self._reduction(reduction_override, avg_factor)
        if weight is not None:
            _check_weight(weight, preds_S)
        if preds_S.numel() == 0:
            return (preds_S.sum() + preds_T.sum()) * 0

        student = F.log_softmax(preds_S / self.tau, dim=-1)
        teacher = F.softmax(preds_T / self.tau, dim=-1)
        entropy = -(teacher * student).sum(dim=-1)  # (N, C) -> (N)
        if self.mult_tem_square:
            entropy = self.tau**2 * entropy
        if weight is not None:
            entropy = entropy * weight
        if reduction == 'mean':
            entropy = entropy.sum() / (entropy.numel() if avg_factor is None else avg_factor)
        elif reduction == 'sum':
            entropy = entropy.sum()
        return self.loss_weight * entropy

    def _reduction(self, override: str | None, avg_factor: float | torch.Tensor | None) -> str:
        if override:
            require_choice('reduction_override', override, REDUCTIONS, "'mean' is the usual one")
        reduction = override or self.reduction
        if avg_factor is not None and reduction == 'sum':
            raise UserError(Fault('avg_factor', "none for the reduction 'sum'", repr(avg_factor), "use 'mean'"))
        if avg_factor is not None and not isinstance(avg_factor, torch.Tensor):
            require_positive('avg_factor', avg_factor, 'give the number of samples that count')
        return reduction


def _check_weight(weight: torch.Tensor, logits: torch.Tensor) -> None:
    expected = f'one number a sample, {tuple(logits.shape[:-1])}'
    require_rank('weight', weight, (logits.dim() - 1,), expected, 'classes have no weights of their own')
    if weight.shape != logits.shape[:-1]:
        raise UserError(Fault('weight', expected, str(tuple(weight.shape)), 'take the weights of the same batch'))
