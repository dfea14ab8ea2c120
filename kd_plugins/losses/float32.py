"""Distill losses are computed in float32, whatever the precision of the forward that fed them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch


def in_float32(forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Decorate a loss's ``forward``: half precision tensors come in as float32, and autocast is off inside.

    float32 and float64 tensors pass as they are, without a copy.
    """

    @functools.wraps(forward)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        args = tuple(map(_widen, args))
        kwargs = {name: _widen(value) for name, value in kwargs.items()}
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
        device = tensors[0].device.type if tensors else 'cpu'
        with torch.autocast(device_type=device, enabled=False):
            return forward(self, *args, **kwargs)

    return wrapped


def _widen(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.dtype in (torch.float16, torch.bfloat16):
        return value.float()
    return value
