"""L1 distance of two features."""

from __future__ import annotations

import torch
from torch import nn

from kd_plugins.arguments import require_choice, require_rank
from kd_plugins.losses.float32 import in_float32
from kd_plugins.losses.shapes import check_same_shape
from kd_plugins.registry import MODELS

REDUCTIONS = ('none', 'batchmean', 'sum', 'mean')


@MODELS.register_module()
class L1Loss(nn.Module):
    r"""Absolute differences of the student's and the teacher's features.

    .. math:: L = \frac{w}{M} \sum_m | s_m - t_m |

    over all M elements of the batch; less sensitive to outliers than :class:`L2Loss`.

    Gradient flows into both tensors, none where they are equal; a frozen teacher's carries none.

    Paper: Paraphrasing Complex Network: Network Compression via Factor Transfer, https://arxiv.org/abs/1802.04977
    (compares L1 with L2 as the distance of features)

    Args:
        loss_weight: Weight w of the loss.
        size_average: What torch had before ``reduction``, which it overrides if given: False sums.
        reduce: What torch had before ``reduction``, which it overrides if given: False keeps the elements.
        reduction: ``'mean'``: divide the sum by the number of elements. ``'batchmean'``: divide it by N. ``'sum'``;
            ``'none'``: keep the elements.

    Raises:
        UserError: ``reduction`` is unknown.

    Example:
        >>> loss = L1Loss()
        >>> loss(torch.zeros(2, 3), torch.full((2, 3), 2.0))
        tensor(2.)
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = 'mean',
    ) -> None:
        super().__init__()
        require_choice('reduction', reduction, REDUCTIONS, "'mean' is the usual one")
        if size_average is not None or reduce is not None:
            reduction = 'none' if reduce is False else 'sum' if size_average is False else 'mean'
        self.loss_weight = loss_weight
        self.reduction = reduction

    @in_float32
    def forward(self, s_feature: torch.Tensor, t_feature: torch.Tensor) -> torch.Tensor:
        """Compare two features.

        Args:
            s_feature: Student's feature, (N, C), (N, C, H, W) or any other shape that starts with N.
            t_feature: Teacher's feature, of the same shape.

        Returns:
            A scalar, or a tensor of the shape of the input for ``reduction='none'``. Zero, and still connected to
            the graph, for an empty batch.

        Raises:
            UserError: The shapes differ.
        """
        check_same_shape(s_feature=s_feature, t_feature=t_feature)
        if self.reduction == 'batchmean':
            expected, advice = 'a feature that starts with N', "use reduction='mean' for single numbers"
            require_rank('s_feature', s_feature, range(1, 9), expected, advice)
        if s_feature.numel() == 0:
            return (s_feature.sum() + t_feature.sum()) * 0

        return self.loss_weight * self._reduce((s_feature - t_feature).abs())

    def _reduce(self, distance: torch.Tensor) -> torch.Tensor:
        if self.reduction == 'batchmean':
            return distance.sum() / distance.shape[0]
        if self.reduction == 'mean':
            return distance.mean()
        return distance.sum() if self.reduction == 'sum' else distance
