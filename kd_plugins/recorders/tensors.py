"""The tensors in a record, which is a tensor or may hold some."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch

_DICTS = (dict, OrderedDict)


def tensors_of(record: Any) -> list[torch.Tensor]:
    """The tensors of a record in their order, those in its tuples, lists and dicts too."""
    found: list[torch.Tensor] = []
    map_tensors(record, found.append)
    return found


def map_tensors(record: Any, function: Callable[[torch.Tensor], Any]) -> Any:
    """A copy of a record in which each tensor is what ``function`` makes of it; other objects stay the same ones.

    Args:
        record: A tensor, a tuple, list or dict of records, or anything else.
        function: Takes a tensor.
    """
    if isinstance(record, torch.Tensor):
        return function(record)
    if type(record) in _DICTS:
        return type(record)((key, map_tensors(value, function)) for key, value in record.items())
    if type(record) in (tuple, list):
        return type(record)(map_tensors(value, function) for value in record)
    if isinstance(record, tuple) and hasattr(record, '_fields'):
        return type(record)(*(map_tensors(value, function) for value in record))
    return record
