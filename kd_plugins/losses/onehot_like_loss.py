"""Likeness of predictions to one-hot vectors, by which data-free distillation makes images of some class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from kd_plugins.arguments import require_rank
from kd_plugins.losses.float32 import in_float32
from kd_plugins.registry import MODELS


@MODELS.register_module()
class OnehotLikeLoss(nn.Module):
    r"""Cross entropy of the teacher's predictions with the classes that it chooses itself.

    .. math:: L = -\frac{w}{N} \sum_n \log \max_c p_{nc}, \qquad p_n = \mathrm{softmax}(z_n)

    Zero where the teacher is sure of each image. Gradient flows through the predictions into what made the images.

    Paper: Data-Free Learning of Student Networks, https://arxiv.org/abs/1904.01186

    Args:
        loss_weight: Weight w of the loss.

    Example:
        >>> loss = OnehotLikeLoss()
        >>> loss(torch.zeros(4, 10))
        tensor(2.3026)
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    @in_float32
    def forward(self, preds_T: torch.Tensor) -> torch.Tensor:  # noqa: N803
        """Measure the predictions of a batch.

        Args:
            preds_T: Teacher's logits for generated images, (N, C).

        Returns:
            A scalar; zero, and still connected to the graph, for an empty batch.

        Raises:
            UserError: The predictions are not (N, C).
        """
        require_rank('preds_T', preds_T, (2,), 'logits (N, C)', 'record what the head returns, one row an image')
        if preds_T.numel() == 0:
            return preds_T.sum() * 0

        return self.loss_weight * F.cross_entropy(preds_T, preds_T.argmax(dim=1))
