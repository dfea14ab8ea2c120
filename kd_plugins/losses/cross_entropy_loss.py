"""Cross entropy with the classes that the teacher chooses, the hard distillation of DeiT."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from kd_plugins.arguments import require_rank
from kd_plugins.losses.float32 import in_float32
from kd_plugins.losses.shapes import check_same_shape
from kd_plugins.registry import MODELS


@MODELS.register_module()
class CrossEntropyLoss(nn.Module):
    r"""Cross entropy of the student's predictions with the teacher's most likely classes as labels.

    .. math:: L = -\frac{w}{N} \sum_n \log p^S_{n, \hat y_n}, \qquad \hat y_n = \mathrm{argmax}_c\, z^T_{nc}

    Gradient flows into the student's predictions alone: a chosen class has none.

    Not the loss of the same name that heads of OpenMMLab's libraries have: that one compares with the true labels.

    Paper: Training data-efficient image transformers & distillation through attention,
    https://arxiv.org/abs/2012.12877

    Args:
        loss_weight: Weight w of the loss.

    Example:
        >>> loss = CrossEntropyLoss()
        >>> loss(torch.zeros(2, 10), torch.eye(2, 10))
        tensor(2.3026)
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    @in_float32
    def forward(self, preds_S: torch.Tensor, preds_T: torch.Tensor) -> torch.Tensor:  # noqa: N803
        """Compare two predictions.

        Args:
            preds_S: Student's logits, (N, C) or (N, C, H, W).
            preds_T: Teacher's logits, of the same shape.

        Returns:
            A scalar; zero, and still connected to the graph, for an empty batch.

        Raises:
            UserError: The shapes differ, or have no classes.
        """
        check_same_shape(preds_S=preds_S, preds_T=preds_T)
        require_rank('preds_S', preds_S, (2, 3, 4, 5), 'logits (N, C) or (N, C, H, W)', 'record what the head returns')
        if preds_S.numel() == 0:
            return preds_S.sum() * 0

        labels = preds_T.argmax(dim=1)  # (N, C, ...) -> (N, ...)
        return self.loss_weight * F.cross_entropy(preds_S, labels)
