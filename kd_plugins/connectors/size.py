"""Height and width of a map, as several connectors take them."""

from __future__ import annotations

from collections.abc import Sequence

from kd_plugins.errors import Fault, UserError


def checked_size(size: Sequence[int]) -> tuple[int, int]:
    """The height and the width of a map as a tuple.

    Args:
        size: Height and width in positions, each above 0.

    Raises:
        UserError: ``size`` is anything else.
    """
    if not isinstance(size, (tuple, list)) or len(size) != 2 or not all(isinstance(n, int) and n > 0 for n in size):
        raise UserError(Fault('size', 'a height and a width, whole numbers above 0', repr(size), 'write size=(7, 7)'))
    height, width = size
    return height, width
