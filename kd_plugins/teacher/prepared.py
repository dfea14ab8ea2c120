"""Layers of a frozen model with what can be computed once computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from kd_plugins.teacher.trace import is_convolution

Forward = Callable[[torch.Tensor], torch.Tensor]
# weight and bias by the input
Weights = Callable[[torch.Tensor], tuple[Any, ...]]
# what the prepared layers are computed from, by the name in the module
SOURCES = ('weight', 'bias', 'running_mean', 'running_var')


def prepare(
    model: nn.Module, folds: Mapping[nn.Module, nn.Module], dtype: torch.dtype | None, channels_last: bool
) -> dict[nn.Module, Forward]:
    """Forwards that take the place of those of convolutions, linear layers and BatchNorms.

    Args:
        model: The frozen model.
        folds: BatchNorm by the convolution that it is folded into.
        dtype: Of autocast, under which the layers will run: their weights are cast now, for where it is on; None for no
            autocast.
        channels_last: Lay weights of 2D convolutions out with channels last.

    Returns:
        Forward by module, for :func:`in_place_of`.
    """
    forwards: dict[nn.Module, Forward] = {}
    module: Any
    for module in model.modules():
        if 'forward' in module.__dict__:
            continue
        if is_convolution(module):
            weight, bias = _folded(module, folds[module]) if module in folds else (module.weight, module.bias)
            if channels_last and weight.dim() == 4:
                weight = weight.contiguous(memory_format=torch.channels_last)
            if module in folds or dtype is not None or weight is not module.weight:
                forwards[module] = _convolution(module, _under(dtype, weight, bias))
        elif dtype is not None and type(module).forward is nn.Linear.forward:
            forwards[module] = _linear(_under(dtype, module.weight, module.bias))
    return {**forwards, **dict.fromkeys(folds.values(), _same)}


def signature(modules: Iterable[nn.Module]) -> list[Any]:
    """What changes when the weights of modules do: by an optimiser or ``load_state_dict``, in another place or dtype.

    Args:
        modules: Those whose forwards were prepared.
    """
    found = []
    for module in modules:
        for held in (module._parameters, module._buffers):
            for name in SOURCES:
                tensor = held.get(name)
                if tensor is not None:
                    found.append((tensor.data_ptr(), tensor._version))
    return found


@contextmanager
def in_place_of(forwards: Mapping[nn.Module, Forward], overwriting: Iterable[nn.Module]) -> Iterator[None]:
    """Let modules use other forwards, and activations overwrite their input, for a while.

    Args:
        forwards: By module.
        overwriting: Activations whose ``inplace`` is set.
    """
    before = [(module, module.__dict__['inplace']) for module in overwriting]
    for module, forward in forwards.items():
        module.__dict__['forward'] = forward
    for module, _ in before:
        module.__dict__['inplace'] = True
    try:
        yield
    finally:
        for module in forwards:
            del module.__dict__['forward']
        for module, inplace in before:
            module.__dict__['inplace'] = inplace


def _folded(convolution: Any, norm: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias that do both, computed in float64."""
    tensors = (
        convolution.weight,
        convolution.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    wide = [tensor.double() if isinstance(tensor, torch.Tensor) else tensor for tensor in tensors]
    weight, bias = fuse_conv_bn_weights(*wide)  # type: ignore[arg-type]
    return weight.detach().to(convolution.weight.dtype), bias.detach().to(convolution.weight.dtype)


def _under(dtype: torch.dtype | None, weight: Any, bias: Any) -> Weights:
    """Weight and bias for an input: cast where autocast would cast them, which a model can switch off for a part."""
    plain = weight, bias
    cast = plain if dtype is None else tuple(None if part is None else part.detach().to(dtype) for part in plain)

    def weights(inputs: torch.Tensor) -> tuple[Any, ...]:
        device = inputs.device.type
        casts = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == dtype
        return cast if casts and inputs.dtype != torch.float64 else plain

    return weights if dtype is not None else lambda inputs: plain


def _convolution(module: Any, weights: Weights) -> Forward:
    # with the padding mode, stride and groups of the module
    return lambda inputs: module._conv_forward(inputs, *weights(inputs))


def _linear(weights: Weights) -> Forward:
    return lambda inputs: nn.functional.linear(inputs, *weights(inputs))


def _same(inputs: torch.Tensor) -> torch.Tensor:
    return inputs
