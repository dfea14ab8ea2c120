"""Factor transfer: the distance of the student's and the teacher's factors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from kd_plugins.arguments import require_rank
from kd_plugins.losses.float32 import in_float32
from kd_plugins.losses.shapes import check_same_shape
from kd_plugins.losses.unit_length import to_unit_length
from kd_plugins.registry import MODELS

RANKS = range(2, 7)


@MODELS.register_module()
class FTLoss(nn.Module):
    r"""Mean absolute difference of two factors, each sample's scaled to length 1.

    With the flattened factors :math:`s_n` of the ``Translator`` and :math:`t_n` of the ``Paraphraser``, D numbers each:

    .. math::
        L = \frac{w}{N D} \sum_n \Big\lVert \frac{s_n}{\lVert s_n \rVert_2}
        - \frac{t_n}{\lVert t_n \rVert_2} \Big\rVert_1

    Gradient flows into both factors; a frozen paraphraser's carries none, nor does a factor that is zero everywhere.

    Paper: Paraphrasing Complex Network: Network Compression via Factor Transfer, https://arxiv.org/abs/1802.04977

    Args:
        loss_weight: Weight w of the loss.

    Example:
        >>> loss = FTLoss()
        >>> loss(torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]]))
        tensor(0.2000)
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    @in_float32
    def forward(self, s_feature: torch.Tensor, t_feature: torch.Tensor) -> torch.Tensor:
        """Compare two factors.

        Args:
            s_feature: Student's factor, (N, C, H, W), (N, D) or any other shape up to rank 6 that starts with N.
            t_feature: Teacher's factor, of the same shape.

        Returns:
            A scalar; zero, and still connected to the graph, for an empty batch.

        Raises:
            UserError: The shapes differ, or these are no factors of samples.
        """
        check_same_shape(s_feature=s_feature, t_feature=t_feature)
        expected = 'a factor (N, C, H, W), (N, D) or alike'
        require_rank('s_feature', s_feature, RANKS, expected, 'record what Paraphraser and Translator return')
        if s_feature.numel() == 0:
            return (s_feature.sum() + t_feature.sum()) * 0

        student, teacher = s_feature.flatten(1), t_feature.flatten(1)  # (N, C, H, W) -> (N, CHW)
        return self.loss_weight * F.l1_loss(to_unit_length(student), to_unit_length(teacher))
