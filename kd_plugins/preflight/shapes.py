"""The shape of anything that a module returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

# a tuple of ints for a tensor, a list for a tuple or a list, a dict for a dict, the name of its type for the rest
Shape = Any


def shape_of(value: Any) -> Shape:
    """The shape of a tensor, or those of the tensors in a tuple, a list or a dict.

    Example:
        >>> shape_of((torch.zeros(2, 49, 8), (7, 7)))
        [(2, 49, 8), ['int', 'int']]
    """
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if isinstance(value, Mapping):
        return {str(key): shape_of(child) for key, child in value.items()}
    if isinstance(value, (tuple, list)):
        return [shape_of(child) for child in value]
    return type(value).__name__


def describe_shape(shape: Shape) -> str:
    """A shape as people write it: ``2x512x7x7``; ``[2x49x8, [int, int]]`` for a tuple."""
    if isinstance(shape, tuple):
        return 'x'.join(map(str, shape)) if shape else 'scalar'
    if isinstance(shape, list):
        return f'[{", ".join(map(describe_shape, shape))}]'
    if isinstance(shape, dict):
        return f'{{{", ".join(f"{key}: {describe_shape(child)}" for key, child in shape.items())}}}'
    return str(shape)
