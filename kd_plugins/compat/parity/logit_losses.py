"""Cases of the losses that compare predictions."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch

from kd_plugins.compat.parity.case import Case, MakeInputs

SHAPES = ((3, 5), (1, 10), (2, 4, 3, 3))


def pair(shape: tuple[int, ...], scale: float = 2.0) -> MakeInputs:
    """Maker of two random tensors of one shape."""

    def make(dtype: torch.dtype) -> tuple[Any, ...]:
        return tuple((torch.randn(2, *shape, dtype=torch.float64) * scale).to(dtype))

    return make


LOGIT_LOSSES = [
    Case(
        'KLDivergence',
        pair(shape),
        dict(tau=tau, reduction=reduction, loss_weight=weight, teacher_detach=detach),
        label=str(shape),
    )
    for shape, tau, reduction, weight, detach in product(
        SHAPES, (1, 6), ('none', 'batchmean', 'sum', 'mean'), (1, 10), (True, False)
    )
]
