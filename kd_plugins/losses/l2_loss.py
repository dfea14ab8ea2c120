"""L2 distance of two feature maps, the hint loss of FitNets."""

from __future__ import annotations

import torch
from torch import nn

from kd_plugins.arguments import require_rank
from kd_plugins.losses.float32 import in_float32
from kd_plugins.losses.rows import as_rows, squared_length, unit_difference
from kd_plugins.losses.shapes import check_same_shape
from kd_plugins.registry import MODELS


@MODELS.register_module()
class L2Loss(nn.Module):
    r"""Squared L2 distance of the student's and the teacher's features.

    With :math:`\hat s_n` and :math:`\hat t_n` the flattened features of sample n, scaled to length ``mult`` if
    ``normalize``:

    .. math:: L = \frac{w}{N} \sum_n \lVert \hat s_n - \hat t_n \rVert_2^2

    Gradient flows into both tensors; a frozen teacher's carries none.

    Paper: FitNets: Hints for Thin Deep Nets, https://arxiv.org/abs/1412.6550

    Args:
        loss_weight: Weight w of the loss.
        normalize: Scale each sample's flattened feature to length ``mult`` first. A feature that is zero everywhere
            stays zero.
        mult: Length of a normalised feature.
        div_element: Divide by the number of elements N*C*H*W instead of the batch size N.
        dist: Take the square root of the sum over the whole batch, as ``torch.dist`` does, and divide by nothing.

    Example:
        >>> loss = L2Loss(normalize=False)
        >>> loss(torch.zeros(2, 3), torch.ones(2, 3))
        tensor(3.)
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        normalize: bool = True,
        mult: float = 1.0,
        div_element: bool = False,
        dist: bool = False,
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.normalize = normalize
        self.mult = mult
        self.div_element = div_element
        self.dist = dist

    @in_float32
    def forward(self, s_feature: torch.Tensor, t_feature: torch.Tensor) -> torch.Tensor:
        """Compare two features.

        Args:
            s_feature: Student's feature, (N, C, H, W) or any other shape that starts with N.
            t_feature: Teacher's feature, of the same shape.

        Returns:
            A scalar; zero, and still connected to the graph, for an empty batch.

        Raises:
            UserError: The shapes differ.
        """
        check_same_shape(s_feature=s_feature, t_feature=t_feature)
        require_rank('s_feature', s_feature, range(2, 9), 'a feature (N, C, …)', 'record more than one number a sample')
        if s_feature.numel() == 0:
            return (s_feature.sum() + t_feature.sum()) * 0

        student, teacher = as_rows(s_feature, t_feature)  # (N, C, H, W) -> (N, CHW)
        if self.normalize:
            # the gradient of a distance of next to nothing is as large as any other, unless it is squared
            difference = unit_difference(student, teacher, self.mult, exact_zero=self.dist)
        else:
            difference = student - teacher
        distance = squared_length(difference)

        if self.dist:
            # the gradient of a root is infinite where the features are equal
            equal = distance == 0
            return self.loss_weight * distance.masked_fill(equal, 1).sqrt().masked_fill(equal, 0)
        count = s_feature.numel() if self.div_element else s_feature.shape[0]
        return distance * (self.loss_weight / count)
