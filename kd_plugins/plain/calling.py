"""How a model of any library is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from torch import nn


def call(model: nn.Module, batch: Any) -> Any:
    """Call a model with a batch.

    Args:
        model: Any model.
        batch: A tuple holds positional arguments, a dict keyword arguments; anything else is the only argument.
    """
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, tuple) else model(batch)


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside of ``DistributedDataParallel`` or of what ``torch.compile`` returns.

    Its modules have the names that the model's author gave them.
    """
    while True:
        inner = model.module if is_model_wrapper(model) else getattr(model, '_orig_mod', None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


@contextmanager
def leaving_no_trace(model: nn.Module) -> Iterator[None]:
    """Inside, a model may be called for what it returns: its buffers are restored afterwards.

    It runs without gradient, and uncompiled, since compiled code would be made for a batch of this size.

    Args:
        model: In the mode in which it is to run. In training mode, BatchNorm updates its buffers.
    """
    # with their places: some modules put another tensor there
    buffers = [
        (module._buffers, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        with torch.no_grad(), torch.compiler.set_stance('force_eager'):
            yield
    finally:
        with torch.no_grad():
            for place, name, buffer, before in buffers:
                place[name] = buffer.copy_(before)
