"""Connector to the unit sphere on which contrastive representation distillation compares."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModule
from torch import nn

from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import MODELS


@MODELS.register_module()
class CRDConnector(BaseModule):
    """Embeds a feature linearly and scales the embedding to length 1.

    Student and teacher get a connector each, and both are trained: the loss compares embeddings only. An embedding
    that is zero everywhere stays zero, without gradient.

    Paper: Contrastive Representation Distillation, https://arxiv.org/abs/1910.10699

    Args:
        dim_in: Number of elements of a sample's feature, C * H * W.
        dim_out: Number of elements of the embedding; the ``dim_out`` of ``CRDLoss``.
        init_cfg: Initialisation of mmengine.

    Example:
        >>> connector = CRDConnector(512, 128)
        >>> connector(torch.rand(2, 512, 1, 1)).shape
        torch.Size([2, 128])
    """

    def __init__(self, dim_in: int = 1024, dim_out: int = 128, init_cfg: dict[str, Any] | None = None) -> None:
        super().__init__(init_cfg)
        self.linear = nn.Linear(dim_in, dim_out)

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """Embed a feature.

        Args:
            feature: (N, C), (N, C, H, W) or any other shape of ``dim_in`` elements a sample.

        Returns:
            (N, dim_out), rows of length 1.

        Raises:
            UserError: A sample has another number of elements.
        """
        dim_in = self.linear.in_features
        elements = feature.shape[1:].numel()
        if feature.dim() < 2 or elements != dim_in:
            advice = f'write dim_in={elements}' if feature.dim() > 1 else 'record one vector for each sample'
            raise UserError(Fault('feature', f'{dim_in} elements a sample (dim_in)', str(tuple(feature.shape)), advice))
        embedding = self.linear(feature.flatten(1))  # (N, C, H, W) -> (N, dim_out)
        length = torch.linalg.vector_norm(embedding, dim=1, keepdim=True)  # (N, dim_out) -> (N, 1)
        return embedding / length.masked_fill(length == 0, torch.inf)
