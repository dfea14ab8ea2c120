"""Features scaled to length 1, so that their direction alone is compared."""

from __future__ import annotations

import torch

# rows that are shorter have no direction that means anything
SHORTEST = 1e-12


def to_unit_length(rows: torch.Tensor) -> torch.Tensor:
    """Scale every row to length 1.

    Args:
        rows: (N, D).

    Returns:
        (N, D). A row of length zero (below 1e-12) becomes zero, without gradient, which would be 1e12 times too large.
    """
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)  # (N, D) -> (N, 1)
    return rows / length.masked_fill(length <= SHORTEST, torch.inf)
