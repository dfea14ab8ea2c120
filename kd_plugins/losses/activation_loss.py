"""Strength of a teacher's feature, by which data-free distillation makes images that excite it."""

from __future__ import annotations

import torch
from torch import nn

from kd_plugins.arguments import require_choice, require_rank
from kd_plugins.losses.float32 import in_float32
from kd_plugins.registry import MODELS

NORM_TYPES = ('abs', 'norm')


@MODELS.register_module()
class ActivationLoss(nn.Module):
    r"""Negative size of the teacher's feature f, of M elements in all: the lower, the stronger it answers.

    .. math:: L = -\frac{w}{M} \sum_i |f_i| \quad \text{(abs)}, \qquad L = -w \lVert f \rVert_2 \quad \text{(norm)}

    Gradient flows through the feature into what made the images; a feature that is zero everywhere has none.

    Paper: Data-Free Learning of Student Networks, https://arxiv.org/abs/1904.01186

    Args:
        loss_weight: Weight w of the loss.
        norm_type: ``'abs'``: mean of the absolute values, as in the paper. ``'norm'``: length of the whole batch's
            feature, which grows with the batch.

    Raises:
        UserError: ``norm_type`` is unknown.

    Example:
        >>> loss = ActivationLoss(norm_type='norm')
        >>> loss(torch.tensor([[3.0, -4.0]]))
        tensor(-5.)
    """

    def __init__(self, loss_weight: float = 1.0, norm_type: str = 'abs') -> None:
        super().__init__()
        require_choice('norm_type', norm_type, NORM_TYPES)
        self.loss_weight = loss_weight
        self.norm_type = norm_type

    @in_float32
    def forward(self, feat_T: torch.Tensor) -> torch.Tensor:  # noqa: N803
        """Measure the feature of a batch.

        Args:
            feat_T: Teacher's feature for generated images, (N, C) or (N, C, H, W).

        Returns:
            A scalar; zero, and still connected to the graph, for an empty batch.

        Raises:
            UserError: The feature is no batch of vectors or maps.
        """
        expected = 'a feature (N, C) or (N, C, H, W)'
        require_rank('feat_T', feat_T, (2, 3, 4, 5), expected, 'record a stage of the backbone, or the neck')
        if feat_T.numel() == 0:
            return feat_T.sum() * 0

        size = feat_T.abs().mean() if self.norm_type == 'abs' else torch.linalg.vector_norm(feat_T)
        return -self.loss_weight * size
