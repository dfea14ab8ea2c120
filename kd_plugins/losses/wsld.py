"""Weighted soft labels: a sample counts the less, the better the student knows it already."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from kd_plugins.arguments import require_choice, require_positive, require_rank
from kd_plugins.errors import Fault, UserError
from kd_plugins.losses.float32 import in_float32
from kd_plugins.losses.labels import ADVICE, LABELS, class_indices
from kd_plugins.losses.shapes import check_same_shape
from kd_plugins.registry import MODELS

# the cross entropy of a teacher that is sure of the true class is 0
EPSILON = 1e-7


@MODELS.register_module()
class WSLD(nn.Module):
    r"""Cross entropy with the teacher's softened probabilities, each sample weighed by what it may still teach.

    With :math:`p = \mathrm{softmax}(z / \tau)` over the classes, and the cross entropy :math:`\ell` of the predictions
    at temperature 1 with the true label:

    .. math::
        L = -\frac{w \tau^2}{N} \sum_n \big(1 - \exp(-\ell^S_n / \ell^T_n)\big) \sum_c p^T_{nc} \log p^S_{nc}

    Gradient flows into both predictions through p, and none through the weights of the samples; a frozen teacher's
    predictions carry none.

    Paper: Rethinking Soft Labels for Knowledge Distillation: A Bias-Variance Tradeoff Perspective,
    https://arxiv.org/abs/2102.00650

    Args:
        tau: Temperature, above 0; the higher, the softer the probabilities.
        loss_weight: Weight w of the loss.
        num_classes: Number of classes C of both models.
        labels: ``'index'``: the labels are class indices. ``'argmax'``: they may also be the probabilities of a batch
            that Mixup or CutMix has mixed, of which the true class is the one with the larger part.

    Raises:
        UserError: ``tau`` or ``num_classes`` is not above 0, or ``labels`` is unknown.

    Example:
        >>> loss = WSLD(tau=2.0, num_classes=10)
        >>> loss(torch.zeros(2, 10), torch.zeros(2, 10), torch.tensor([3, 7]))
        tensor(5.8220)
    """

    def __init__(
        self, tau: float = 1.0, loss_weight: float = 1.0, num_classes: int = 1000, labels: str = 'index'
    ) -> None:
        super().__init__()
        require_positive('tau', tau, 'usual values are 1 to 4')
        require_positive('num_classes', num_classes, 'give the number of classes')
        require_choice('labels', labels, LABELS, ADVICE)
        self.tau = tau
        self.loss_weight = loss_weight
        self.num_classes = num_classes
        self.labels = labels

    @in_float32
    def forward(self, student: torch.Tensor, teacher: torch.Tensor, gt_labels: torch.Tensor) -> torch.Tensor:
        """Compare two predictions.

        Args:
            student: Student's logits, (N, C).
            teacher: Teacher's logits, of the same shape.
            gt_labels: True classes, (N) integers in [0, C); with ``labels='argmax'`` also probabilities (N, C).

        Returns:
            A scalar; zero, and still connected to the graph, for an empty batch.

        Raises:
            UserError: The shapes differ, C is not ``num_classes``, or the labels are not one class per sample.
        """
        check_same_shape(student=student, teacher=teacher)
        require_rank('student', student, (2,), 'logits (N, C)', 'record what the head returns, one row a sample')
        if student.shape[1] != self.num_classes:
            expected, advice = f'{student.shape[1]}, as in the logits', f'write num_classes={student.shape[1]}'
            raise UserError(Fault('num_classes', expected, str(self.num_classes), advice))
        gt_labels = class_indices(gt_labels, student, self.labels)
        if student.numel() == 0:
            return (student.sum() + teacher.sum()) * 0

        s_hard, t_hard = _cross_entropy(student, gt_labels), _cross_entropy(teacher, gt_labels)
        weight = -torch.expm1(-s_hard / (t_hard + EPSILON))
        s_soft, t_soft = F.log_softmax(student / self.tau, dim=1), F.softmax(teacher / self.tau, dim=1)
        entropy = -(t_soft * s_soft).sum(dim=1)  # (N, C) -> (N)
        return self.loss_weight * self.tau**2 * (weight * entropy).mean()


def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Logits (N, C) and labels (N) -> cross entropy of each sample, (N), without gradient."""
    return -F.log_softmax(logits.detach(), dim=1).gather(1, labels.long().unsqueeze(1)).squeeze(1)
