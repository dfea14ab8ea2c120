"""Which axes of a record are those of the image."""

from __future__ import annotations

from kd_plugins.connectors.choice import Shape, has_square_patches, token_grid

# (N, L, C) and (N, C, H, W): the layouts that connectors work on
SPATIAL_AXES = {3: (1,), 4: (2, 3)}
_OTHER_AXES = {3: (2,), 4: (1, 2)}
# a class token, and the registers of a vision transformer
_MOST_EXTRA_TOKENS = 8


def possible_axes(shape: Shape, image: tuple[int, int]) -> list[tuple[int, ...]]:
    """The axes of a record that can be those of the image, for all that its shape says.

    Args:
        shape: Of rank 3 or 4.
        image: Height and width of the images, in pixels.

    Returns:
        The axes of :data:`SPATIAL_AXES`, those of (N, C, L) or (N, H, W, C), or both: as many as form a grid over the
        image.

    Example:
        >>> possible_axes((2, 512, 7, 7), (224, 224)), possible_axes((2, 7, 7, 768), (224, 224))
        ([(2, 3)], [(1, 2)])
    """
    usual, other = SPATIAL_AXES[len(shape)], _OTHER_AXES[len(shape)]
    if len(shape) == 4:
        return [axes for axes in (usual, other) if has_square_patches((shape[axes[0]], shape[axes[1]]), image)]
    tokens = token_grid(shape[1], image, _MOST_EXTRA_TOKENS) is not None
    # a map that was flattened, (N, C, L), has no extra tokens
    return [usual] * tokens + [other] * (token_grid(shape[2], image, 0) is not None)


def changed_axes(shape: Shape, other: Shape) -> tuple[int, ...]:
    """The axes in which the records of images of two sizes differ: the spatial ones.

    Args:
        shape: Of the record.
        other: Of the same record, of images of another size; of another rank, where nothing is known of it.
    """
    if len(shape) != len(other):
        return ()
    return tuple(axis for axis, pair in enumerate(zip(shape, other, strict=True)) if pair[0] != pair[1])


def describe_axes(axes: tuple[int, ...], rank: int) -> str:
    """A layout as people write it, by its spatial axes: ``(N, H, W, C)`` for (1, 2)."""
    names = ['N', *['C'] * (rank - 1)]
    for axis, name in zip(axes, 'HW' if len(axes) == 2 else 'L', strict=True):
        names[axis] = name
    return f'({", ".join(names)})'
