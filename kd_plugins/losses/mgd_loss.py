"""Masked generative distillation: the distance of a generated feature map from the teacher's."""

from __future__ import annotations

import torch
from torch import nn

from kd_plugins.arguments import require_rank
from kd_plugins.losses.float32 import in_float32
from kd_plugins.losses.shapes import check_same_shape
from kd_plugins.registry import MODELS


@MODELS.register_module()
class MGDLoss(nn.Module):
    r"""Squared distance of the map that ``MGDConnector`` generates from the student's, and the teacher's.

    .. math:: L = \frac{\alpha}{N} \sum_n \lVert s_n - t_n \rVert_2^2

    Gradient flows into both maps; a frozen teacher's carries none.

    Paper: Masked Generative Distillation, https://arxiv.org/abs/2205.01529

    Args:
        alpha_mgd: Weight alpha of the loss. The sum runs over all C*H*W elements, so it is small: in the paper 7e-5 for
            classifiers, 2e-5 for one-stage detectors and segmentors, 5e-7 for two-stage detectors.

    Example:
        >>> loss = MGDLoss(alpha_mgd=0.5)
        >>> loss(torch.zeros(2, 3, 2, 2), torch.ones(2, 3, 2, 2))
        tensor(6.)
    """

    def __init__(self, alpha_mgd: float = 0.00002) -> None:
        super().__init__()
        self.alpha_mgd = alpha_mgd

    @in_float32
    def forward(self, preds_S: torch.Tensor, preds_T: torch.Tensor) -> torch.Tensor:  # noqa: N803
        """Compare two feature maps.

        Args:
            preds_S: Generated feature map, (N, C, H, W) or (N, C, T, H, W).
            preds_T: Teacher's feature map, of the same shape.

        Returns:
            A scalar; zero, and still connected to the graph, for an empty batch.

        Raises:
            UserError: The shapes differ, or these are no maps.
        """
        check_same_shape(preds_S=preds_S, preds_T=preds_T)
        expected = 'a map (N, C, H, W) or (N, C, T, H, W)'
        require_rank('preds_S', preds_S, (4, 5), expected, 'record a stage of the backbone before its pooling')
        if preds_S.numel() == 0:
            return (preds_S.sum() + preds_T.sum()) * 0

        return self.alpha_mgd * (preds_S - preds_T).square().sum() / preds_S.shape[0]
