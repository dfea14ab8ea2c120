"""What the losses of relational knowledge distillation share: samples as points, from one matrix of products."""

from __future__ import annotations

import torch

from kd_plugins.arguments import require_rank
from kd_plugins.errors import Fault, UserError
from kd_plugins.losses.unit_length import to_unit_length

# squared distance, relative to the squared lengths, at which two samples are the same but for rounding, of which the
# products of flattened feature maps gather up to 1e-13
SAME = 1e-12


def check_same_batch(preds_S: torch.Tensor, preds_T: torch.Tensor) -> None:  # noqa: N803
    """Refuse embeddings of different batches; their lengths may differ.

    Raises:
        UserError: With both shapes.
    """
    for name, tensor in (('preds_S', preds_S), ('preds_T', preds_T)):
        require_rank(name, tensor, (2, 3, 4, 5), 'embeddings (N, C) or (N, C, H, W)', 'record one row a sample')
    if preds_S.shape[0] != preds_T.shape[0]:
        got = f'preds_S {tuple(preds_S.shape)} (student) and preds_T {tuple(preds_T.shape)} (teacher)'
        advice = 'the batch sizes differ: both models must have seen the same batch'
        raise UserError(Fault('', 'embeddings of the same batch', got, advice))


def gram_matrix(embeddings: torch.Tensor, unit_length: bool) -> torch.Tensor:
    """Products of all pairs of samples, from which distances and angles follow without an (N, N, C) tensor.

    In float64: the differences of these products would lose close samples in float32.

    Args:
        embeddings: (N, C) or (N, C, H, W).
        unit_length: Scale each sample to length 1 first.

    Returns:
        (N, N).
    """
    points = embeddings.flatten(1)  # (N, C, H, W) -> (N, CHW)
    points = (to_unit_length(points) if unit_length else points).double()
    return points @ points.T


def distances(gram: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Euclidean distances of all pairs of samples.

    Args:
        gram: (N, N) products.

    Returns:
        The distances (N, N), 0 without gradient where two samples are the same, and where that is so, (N, N).
    """
    squares = gram.diagonal()
    lengths = squares[:, None] + squares  # (N) -> (N, N)
    squared = lengths - 2 * gram
    same = squared <= SAME * lengths
    # the root of 0 has an infinite gradient
    return squared.masked_fill(same, 1).sqrt().masked_fill(same, 0), same
