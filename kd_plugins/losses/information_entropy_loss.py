"""Entropy of the classes of a batch, by which data-free distillation keeps them in balance."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from mmengine.dist import get_world_size
from torch import nn
from torch.distributed.nn.functional import all_gather

from kd_plugins.arguments import require_rank
from kd_plugins.losses.float32 import in_float32
from kd_plugins.registry import MODELS


@MODELS.register_module()
class InformationEntropyLoss(nn.Module):
    r"""Negative entropy of the mean prediction: the lowest where all classes are equally frequent in the batch.

    With :math:`\bar p_c = \frac{1}{N} \sum_n \mathrm{softmax}(z_n)_c`:

    .. math:: L = w \sum_c \bar p_c \log_{10} \bar p_c

    It lies between :math:`-w \log_{10} C` and 0. Gradient flows through the predictions into what made the images.

    Paper: Data-Free Learning of Student Networks, https://arxiv.org/abs/1904.01186

    Args:
        gather: In distributed training, take the mean over the batches of all processes, which have to be of the same
            size. Each process's predictions get the gradient of the sum of all processes' losses, which DDP averages.
        loss_weight: Weight w of the loss.

    Example:
        >>> loss = InformationEntropyLoss()
        >>> round(loss(torch.zeros(4, 10)).item(), 4)
        -1.0
    """

    def __init__(self, gather: bool = True, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.gather = gather
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

        # logarithms all along: the entropy of a probability of 0 has no gradient
        logarithms = F.log_softmax(preds_T, dim=1)
        # 0 times -inf is NaN
        mean = _log_mean(logarithms.clamp_min(torch.finfo(logarithms.dtype).min))
        if self.gather and get_world_size() > 1:
            # of each process C numbers instead of N * C
            mean = _log_mean(torch.stack(all_gather(mean)))
        return self.loss_weight * (mean.exp() * mean).sum() / math.log(10)


def _log_mean(log_probabilities: torch.Tensor) -> torch.Tensor:
    """Logarithm of the mean of probabilities that are given as logarithms, (N, C) -> (C)."""
    return log_probabilities.logsumexp(dim=0) - math.log(len(log_probabilities))
