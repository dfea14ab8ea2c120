"""Relational knowledge distillation: the angles that three samples of a batch form."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from kd_plugins.losses.float32 import in_float32
from kd_plugins.losses.relations import check_same_batch, distances, gram_matrix
from kd_plugins.registry import MODELS

# angles at a time: 8 MiB a tensor
BLOCK = 2**20


@MODELS.register_module()
class AngleWiseRKD(nn.Module):
    r"""Cosines of the angles of all triplets of samples, compared between student and teacher.

    With Huber's loss :math:`\ell` (smooth L1) and embeddings x:

    .. math::
        L = \frac{w}{N^3} \sum_{i,j,k} \ell(\psi^S_{ijk}, \psi^T_{ijk}), \qquad
        \psi_{ijk} = \langle e_{ij}, e_{ik} \rangle, \qquad
        e_{ij} = \frac{x_j - x_i}{\lVert x_j - x_i \rVert_2}

    so that sample i is the vertex. The embeddings of both sides may differ in length. Samples that coincide have no
    direction from one to the other: 0, without gradient.

    The cosines come from the (N, N) products of the embeddings, a block of vertices at a time, and once more in the
    backward: memory grows with N squared, up to a block, instead of with N cubed.

    Gradient flows into both embeddings; a frozen teacher's carry none.

    Paper: Relational Knowledge Distillation, https://arxiv.org/abs/1904.05068

    Args:
        loss_weight: Weight w of the loss.
        with_l2_norm: Scale each sample's embedding to length 1 first.

    Example:
        >>> loss = AngleWiseRKD()
        >>> embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
        >>> loss(embeddings, 2 * embeddings)
        tensor(0.)
    """

    def __init__(self, loss_weight: float = 50.0, with_l2_norm: bool = True) -> None:
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

        student, teacher = (gram_matrix(preds, self.with_l2_norm) for preds in (preds_S, preds_T))
        count = preds_S.shape[0]
        relations = (student, _inverse_distances(student), teacher, _inverse_distances(teacher))
        total = student.new_zeros(())
        for vertices in torch.arange(count, device=student.device).split(max(1, BLOCK // count**2)):
            total = total + checkpoint(_compare, *relations, vertices, use_reentrant=False, preserve_rng_state=False)
        return (self.loss_weight * total / count**3).to(preds_S.dtype)


def _inverse_distances(gram: torch.Tensor) -> torch.Tensor:
    """(N, N), 0 where two samples coincide."""
    distance, same = distances(gram)
    return distance.masked_fill(same, 1).reciprocal().masked_fill(same, 0)


def _compare(
    student: torch.Tensor,
    s_inverse: torch.Tensor,
    teacher: torch.Tensor,
    t_inverse: torch.Tensor,
    vertices: torch.Tensor,
) -> torch.Tensor:
    """Sum of Huber's loss over the angles at some vertices."""
    s_cosines, t_cosines = _cosines(student, s_inverse, vertices), _cosines(teacher, t_inverse, vertices)
    return F.smooth_l1_loss(s_cosines, t_cosines, reduction='sum')


def _cosines(gram: torch.Tensor, inverse: torch.Tensor, vertices: torch.Tensor) -> torch.Tensor:
    """Cosines of the angles at V vertices i: (x_j - x_i)(x_k - x_i) of all j and k, over both lengths."""
    near, scale = gram[vertices], inverse[vertices]  # (N, N) -> (V, N)
    squares = gram.diagonal()[vertices]  # (N, N) -> (V)
    products = gram - near[:, :, None] - near[:, None, :] + squares[:, None, None]  # (V, N, N)
    return products * scale[:, :, None] * scale[:, None, :]
