"""Relational knowledge distillation: how far apart the samples of a batch are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from kd_plugins.losses.float32 import in_float32
from kd_plugins.losses.relations import check_same_batch, distances, gram_matrix
from kd_plugins.registry import MODELS


@MODELS.register_module()
class DistanceWiseRKD(nn.Module):
    r"""Distances of all pairs of samples, in units of their mean, compared between student and teacher.

    With Huber's loss :math:`\ell` (smooth L1), embeddings x and the mean distance :math:`\mu` of distinct pairs:

    .. math::
        L = \frac{w}{N^2} \sum_{i,j} \ell(\psi^S_{ij}, \psi^T_{ij}), \qquad
        \psi_{ij} = \frac{1}{\mu} \lVert x_i - x_j \rVert_2

    The embeddings of both sides may differ in length; a batch of one sample has no pairs, and the loss 0. Samples that
    coincide are at distance 0, without gradient.

    Gradient flows into both embeddings; a frozen teacher's carry none.

    Paper: Relational Knowledge Distillation, https://arxiv.org/abs/1904.05068

    Args:
        loss_weight: Weight w of the loss.
        with_l2_norm: Scale each sample's embedding to length 1 first.

    Example:
        >>> loss = DistanceWiseRKD()
        >>> embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
        >>> loss(embeddings, 2 * embeddings)
        tensor(0.)
    """

    def __init__(self, loss_weight: float = 25.0, with_l2_norm: bool = True) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.with_l2_norm = with_l2_norm

    @in_float32
    def forward(self, preds_S: torch.Tensor, preds_T: torch.Tensor) -> torch.Tensor:  # noqa: N803
        """Compare the relations within a batch.

        Args:
            preds_S: Student's embeddings, (N, C) or (N, C, H, W).
            preds_T: Teacher's embeddings, of the same N.

        Returns:
            A scalar; zero, and still connected to the graph, for an empty batch.

        Raises:
            UserError: The batch sizes differ, or these are no embeddings.
        """
        check_same_batch(preds_S, preds_T)
        if preds_S.numel() == 0 or preds_T.numel() == 0:
            return (preds_S.sum() + preds_T.sum()) * 0

        student, teacher = (self._relative_distances(preds) for preds in (preds_S, preds_T))
        return (self.loss_weight * F.smooth_l1_loss(student, teacher)).to(preds_S.dtype)

    def _relative_distances(self, preds: torch.Tensor) -> torch.Tensor:
        """(N, C) -> (N, N)."""
        distance, _ = distances(gram_matrix(preds, self.with_l2_norm))
        count = distance.shape[0]
        mean = distance.sum() / max(1, count * (count - 1))
        return distance / mean.masked_fill(mean == 0, 1)
