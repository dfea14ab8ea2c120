"""PKD: feature maps that correlate, whatever their magnitudes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from kd_plugins.arguments import require_rank
from kd_plugins.errors import Fault, UserError
from kd_plugins.losses.float32 import in_float32
from kd_plugins.losses.shapes import check_same_shape
from kd_plugins.losses.standard_difference import standard_difference
from kd_plugins.registry import MODELS

INTERPOLATION = {4: 'bilinear', 5: 'trilinear'}


@MODELS.register_module()
class PKDLoss(nn.Module):
    r"""One minus the correlation of the student's and the teacher's maps, channel by channel.

    Each channel is scaled to mean 0 and variance 1 over the M = NHW numbers that it has in the batch. Then, per level
    of a pyramid:

    .. math::
        L = \frac{w}{2 M C} \sum_c \lVert \hat s_c - \hat t_c \rVert_2^2
        = \frac{w}{C} \frac{M - 1}{M} \sum_c (1 - \rho(s_c, t_c))

    with Pearson's correlation :math:`\rho`; several levels are added up. A channel that is the same everywhere becomes
    zero, without gradient.

    Gradient flows into both maps; a frozen teacher's carry none.

    Paper: PKD: General Distillation Framework for Object Detectors via Pearson Correlation Coefficient,
    https://arxiv.org/abs/2207.02039

    Args:
        loss_weight: Weight w of the loss.
        resize_stu: Where sizes differ, resize the student's map to the teacher's size; the teacher's to the student's
            if False.

    Example:
        >>> loss = PKDLoss()
        >>> level = torch.arange(12.0).reshape(1, 3, 2, 2)
        >>> loss((level, level), (level * 10, level + 10)).item() < 1e-6
        True
    """

    def __init__(self, loss_weight: float = 1.0, resize_stu: bool = True) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.resize_stu = resize_stu

    def forward(
        self,
        preds_S: torch.Tensor | Sequence[torch.Tensor],  # noqa: N803
        preds_T: torch.Tensor | Sequence[torch.Tensor],  # noqa: N803
    ) -> torch.Tensor:
        """Compare two maps, or two pyramids of maps.

        Args:
            preds_S: Student's feature map, (N, C, H, W) or (N, C, T, H, W), or a tuple of them, one a level.
            preds_T: Teacher's, of the same N and C. Sizes may differ.

        Returns:
            A scalar; zero, and still connected to the graph, for an empty batch.

        Raises:
            UserError: A map of one side meets several of the other, or another number of them; or their shapes differ
                in more than the size; or these are no maps.
        """
        levels = _levels(preds_S, preds_T)
        for index, student, teacher in levels:
            _check_level(index, student, teacher)
        losses = [self._compare(student, teacher) for _, student, teacher in levels]
        return self.loss_weight * torch.stack(losses).sum()

    @in_float32
    def _compare(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        if student.numel() == 0 or teacher.numel() == 0:
            return (student.sum() + teacher.sum()) * 0
        if student.shape != teacher.shape:
            mode = INTERPOLATION[student.dim()]
            if self.resize_stu:
                student = F.interpolate(student, teacher.shape[2:], mode=mode)
            else:
                teacher = F.interpolate(teacher, student.shape[2:], mode=mode)
        return standard_difference(student, teacher).square().mean() / 2


def _levels(preds_S: Any, preds_T: Any) -> list[tuple[str, Any, Any]]:  # noqa: N803
    """Pairs of maps, each with the index that an error names."""
    if isinstance(preds_S, torch.Tensor) and isinstance(preds_T, torch.Tensor):
        return [('', preds_S, preds_T)]
    expected = 'a map on both sides, or tuples of as many maps'
    advice = 'record the same levels of both models; data_idx picks one of a tuple'
    for name, maps in (('preds_S', preds_S), ('preds_T', preds_T)):
        if not isinstance(maps, (tuple, list)):
            raise UserError(Fault(name, expected, f'a {type(maps).__name__}', advice))
    if len(preds_S) != len(preds_T) or not preds_S:
        raise UserError(Fault('preds_S', expected, f'{len(preds_S)} and {len(preds_T)} of preds_T', advice))
    return [
        (f'[{index}]', student, teacher) for index, (student, teacher) in enumerate(zip(preds_S, preds_T, strict=True))
    ]


def _check_level(index: str, student: torch.Tensor, teacher: torch.Tensor) -> None:
    sides = {f'preds_S{index}': student, f'preds_T{index}': teacher}
    for name, feature in sides.items():
        expected = 'a map (N, C, H, W) or (N, C, T, H, W)'
        require_rank(name, feature, INTERPOLATION, expected, 'record stages of a backbone or levels of a neck')
    if student.dim() != teacher.dim() or student.shape[:2] != teacher.shape[:2]:
        check_same_shape(**sides)
