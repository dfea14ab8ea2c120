"""DIST: what a stronger teacher says of the relations of classes and of samples."""

from __future__ import annotations

import torch
from torch import nn

from kd_plugins.arguments import require_positive, require_rank
from kd_plugins.losses.float32 import in_float32
from kd_plugins.losses.shapes import check_same_shape
from kd_plugins.registry import MODELS

# keeps the correlation of classes that are hardly ever predicted near 0
EPSILON = 1e-8


@MODELS.register_module()
class DISTLoss(nn.Module):
    r"""One minus the correlation of the student's and the teacher's probabilities, of each sample and of each class.

    With :math:`Y = \mathrm{softmax}(z / \tau)` over the classes, (N, C), and Pearson's correlation :math:`\rho`:

    .. math::
        L = w \tau^2 \Big( w_\text{inter} \big(1 - \frac{1}{N} \sum_n \rho(Y^S_{n:}, Y^T_{n:})\big)
        + w_\text{intra} \big(1 - \frac{1}{C} \sum_c \rho(Y^S_{:c}, Y^T_{:c})\big) \Big)

    Probabilities that are all the same correlate with nothing: 0, without gradient. In a batch of one sample those of
    every class are.

    Paper: Knowledge Distillation from A Stronger Teacher, https://arxiv.org/abs/2205.10536

    Args:
        inter_loss_weight: Weight of the relation of the classes, within each sample.
        intra_loss_weight: Weight of the relation of the samples, within each class.
        tau: Temperature, above 0; the higher, the softer the probabilities.
        loss_weight: Weight w of the loss.
        teacher_detach: Send no gradient into the teacher's predictions.

    Raises:
        UserError: ``tau`` is not above 0.

    Example:
        >>> loss = DISTLoss()
        >>> logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> round(loss(-logits, logits).item(), 4)
        4.0
    """

    def __init__(
        self,
        inter_loss_weight: float = 1.0,
        intra_loss_weight: float = 1.0,
        tau: float = 1.0,
        loss_weight: float = 1.0,
        teacher_detach: bool = True,
    ) -> None:
        super().__init__()
        require_positive('tau', tau, 'usual values are 1 to 4')
        self.inter_loss_weight = inter_loss_weight
        self.intra_loss_weight = intra_loss_weight
        self.tau = tau
        self.loss_weight = loss_weight
        self.teacher_detach = teacher_detach

    @in_float32
    def forward(self, logits_S: torch.Tensor, logits_T: torch.Tensor) -> torch.Tensor:  # noqa: N803
        """Compare two predictions.

        Args:
            logits_S: Student's logits, (N, C) or (N, C, H, W); each pixel is compared on its own.
            logits_T: Teacher's logits, of the same shape.

        Returns:
            A scalar; zero, and still connected to the graph, for an empty batch.

        Raises:
            UserError: The shapes differ, or have no classes.
        """
        check_same_shape(logits_S=logits_S, logits_T=logits_T)
        require_rank(
            'logits_S', logits_S, (2, 3, 4, 5), 'logits (N, C) or (N, C, H, W)', 'record what the head returns'
        )
        if self.teacher_detach:
            logits_T = logits_T.detach()  # noqa: N806
        if logits_S.numel() == 0:
            return (logits_S.sum() + logits_T.sum()) * 0

        student = (logits_S / self.tau).softmax(dim=1)
        teacher = (logits_T / self.tau).softmax(dim=1)
        inter = 1 - _correlation(student, teacher, dim=1).mean()  # (N, C) -> (N)
        intra = 1 - _correlation(student, teacher, dim=0).mean()  # (N, C) -> (C)
        loss = self.inter_loss_weight * inter + self.intra_loss_weight * intra
        return self.loss_weight * self.tau**2 * loss


def _correlation(student: torch.Tensor, teacher: torch.Tensor, dim: int) -> torch.Tensor:
    """Pearson's correlation along one dimension, which goes."""
    student, teacher = _centred(student, dim), _centred(teacher, dim)
    lengths = torch.linalg.vector_norm(student, dim=dim) * torch.linalg.vector_norm(teacher, dim=dim)
    return (student * teacher).sum(dim) / (lengths + EPSILON)


def _centred(values: torch.Tensor, dim: int) -> torch.Tensor:
    """Values less their mean; zero and without gradient where they are the same but for rounding.

    Divided by a length of next to nothing, the rounding would become a gradient of up to 1 / EPSILON.
    """
    centred = values - values.mean(dim, keepdim=True)
    length, rest = (torch.linalg.vector_norm(part.detach(), dim=dim, keepdim=True) for part in (values, centred))
    return centred.masked_fill(rest <= 4 * torch.finfo(values.dtype).eps * length, 0)
