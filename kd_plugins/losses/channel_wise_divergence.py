"""Channel-wise distillation: which positions each channel stresses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from kd_plugins.arguments import require_positive, require_rank
from kd_plugins.losses.divergence import divergence
from kd_plugins.losses.float32 import in_float32
from kd_plugins.losses.shapes import check_same_shape
from kd_plugins.registry import MODELS


@MODELS.register_module()
class ChannelWiseDivergence(nn.Module):
    r"""Kullback-Leibler divergence of each channel's distribution over the positions of the map.

    With :math:`\phi = \mathrm{softmax}(x / \tau)` over the HW positions of each channel:

    .. math:: L = \frac{w \tau^2}{N C} \sum_{n,c} \sum_i \phi^T_{nci} (\log \phi^T_{nci} - \log \phi^S_{nci})

    The paper compares the class maps of two segmentors, or their features. Over a single position there is nothing to
    compare: the loss of 1x1 maps is 0.

    Gradient flows into both maps; a frozen teacher's carries none.

    Paper: Channel-wise Knowledge Distillation for Dense Prediction, https://arxiv.org/abs/2011.13256

    Args:
        tau: Temperature, above 0; the higher, the more positions count.
        loss_weight: Weight w of the loss.

    Raises:
        UserError: ``tau`` is not above 0.

    Example:
        >>> loss = ChannelWiseDivergence(tau=4.0)
        >>> loss(torch.zeros(2, 19, 8, 8), torch.ones(2, 19, 8, 8))
        tensor(0.)
    """

    def __init__(self, tau: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        require_positive('tau', tau, 'usual values are 1 to 4')
        self.tau = tau
        self.loss_weight = loss_weight

    @in_float32
    def forward(self, preds_S: torch.Tensor, preds_T: torch.Tensor) -> torch.Tensor:  # noqa: N803
        """Compare two maps.

        Args:
            preds_S: Student's logits or feature map, (N, C, H, W) or (N, C, T, H, W).
            preds_T: Teacher's, of the same shape.

        Returns:
            A scalar; zero, and still connected to the graph, for an empty batch.

        Raises:
            UserError: The shapes differ, or these are no maps.
        """
        check_same_shape(preds_S=preds_S, preds_T=preds_T)
        expected = 'a map (N, C, H, W) or (N, C, T, H, W)'
        require_rank('preds_S', preds_S, (4, 5), expected, 'for logits (N, C) of whole images use KLDivergence')
        if preds_S.numel() == 0:
            return (preds_S.sum() + preds_T.sum()) * 0

        student = F.log_softmax(preds_S.flatten(2) / self.tau, dim=2)  # (N, C, H, W) -> (N, C, HW)
        teacher = F.log_softmax(preds_T.flatten(2) / self.tau, dim=2)
        return (
            self.loss_weight * self.tau**2 * divergence(student, teacher).sum() / (preds_S.shape[0] * preds_S.shape[1])
        )
