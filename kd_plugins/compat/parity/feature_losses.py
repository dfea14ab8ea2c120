"""Cases of the losses that compare features."""

from __future__ import annotations

from itertools import product

from kd_plugins.compat.parity.case import Case
from kd_plugins.compat.parity.logit_losses import pair

SHAPES = ((3, 5), (2, 4, 3, 3), (2, 3, 1, 1))

FEATURE_LOSSES = [
    Case(
        'L2Loss',
        pair(shape),
        dict(loss_weight=weight, normalize=normalize, mult=mult, div_element=div_element, dist=dist),
        label=str(shape),
    )
    for shape, weight, normalize, mult, div_element, dist in product(
        SHAPES, (1, 10), (True, False), (1, 2.5), (True, False), (True, False)
    )
]
