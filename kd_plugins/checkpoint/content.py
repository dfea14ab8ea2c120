"""What came out of a checkpoint: plain tensors and values, and no more than its file can hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from kd_plugins.checkpoint.refusal import ImplausibleError

DEEPEST = 200
MOST_VALUES = 2_000_000
# of what most values are: nothing below them, and looked at fast
_LEAVES = {str, int, float, bool, bytes, complex, type(None)}
# where mmengine, timm and torchvision put the weights
WEIGHTS = ('state_dict', 'model')


def refuse_implausible(content: Mapping[Any, Any], most: int) -> None:
    """Refuse what would bring those that use it to their knees, or is of another form than they expect.

    Args:
        content: Of a checkpoint.
        most: Bytes that its tensors may take.

    Raises:
        ImplausibleError: Says what is wrong with it.
    """
    _refuse_keys(content)
    values, storages = 0, dict[int, int]()
    waiting: list[tuple[Any, int]] = [(content, 0)]
    while waiting:
        value, depth = waiting.pop()
        values += 1
        if depth > DEEPEST:
            raise ImplausibleError(f'whose content is nested more than {DEEPEST} deep')
        if values > MOST_VALUES:
            raise ImplausibleError(f'which holds more than {MOST_VALUES:,} values')
        if type(value) in _LEAVES:
            continue
        if isinstance(value, torch.Tensor):
            _refuse_tensor(value, most)
            storages[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        elif isinstance(value, np.ndarray):
            if value.dtype.hasobject or value.nbytes > most:
                raise ImplausibleError(f'which holds a NumPy array of {value.dtype} with {value.nbytes:,} bytes')
        else:
            waiting.extend((child, depth + 1) for child in _children(value))
    if sum(storages.values()) > most:
        raise ImplausibleError(f'whose tensors claim {sum(storages.values()):,} bytes, which is more than it can hold')


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, (list, tuple, set)):
        return value
    if isinstance(value, dict):
        _refuse_attributes(value)
        return value.values()
    return vars(value).values() if isinstance(value, HistoryBuffer) else ()


def _refuse_keys(content: Mapping[Any, Any]) -> None:
    """Names are strings, at the top and of the weights."""
    if not isinstance(content.get('state_dict', {}), Mapping):
        raise ImplausibleError(f'whose state_dict is a {type(content["state_dict"]).__name__}, not a dict')
    for names in (content, *(content.get(key) for key in WEIGHTS)):
        for name in names if isinstance(names, Mapping) else ():
            if not isinstance(name, str):
                raise ImplausibleError(f'which has {str(name)[:40]!r} of type {type(name).__name__} as a name')


def _refuse_tensor(tensor: torch.Tensor, most: int) -> None:
    plain = type(tensor) in (torch.Tensor, nn.Parameter) and tensor.layout == torch.strided and not vars(tensor)
    if not plain or tensor.is_meta or tensor.is_quantized:
        raise ImplausibleError(f'which holds a tensor that is not a plain one ({tensor.layout}, on {tensor.device})')
    if tensor.numel() * tensor.element_size() > most:
        raise ImplausibleError(f'which holds a tensor of shape {tuple(tensor.shape)}, more than its file can hold')


def _refuse_attributes(mapping: Mapping[Any, Any]) -> None:
    """A state_dict has the versions of the modules beside its items, and nothing else; both are handed to modules."""
    attributes = getattr(mapping, '__dict__', {})
    versions = attributes.get('_metadata', {})
    sound = isinstance(versions, Mapping) and all(
        isinstance(entry, Mapping) and isinstance(entry.get('version', 0), (int, type(None)))
        for entry in versions.values()
    )
    if set(attributes) - {'_metadata'} or not sound:
        raise ImplausibleError(f'with a {type(mapping).__name__} whose attributes are not those of a state_dict')
