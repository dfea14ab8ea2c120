"""Counts floating point operations."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count


def flop_counter() -> FlopCounterMode:
    """A context that counts the operations of convolutions and matrix products, forward and backward.

    PyTorch's own is wrong about the gradient of a grouped convolution's weight, by a factor of its groups.
    """
    formulas = {torch.ops.aten.convolution_backward: _convolution_backward}
    return FlopCounterMode(display=False, custom_mapping=formulas)


def _convolution_backward(gradient: list[int], inputs: list[int], weight: list[int], *arguments: Any, **_: Any) -> int:
    """Each of the gradients, that of the input and that of the weight, takes what the forward takes."""
    _bias, _stride, _padding, _dilation, transposed, _output_padding, _groups, wanted = arguments
    return conv_flop_count(inputs, weight, gradient, transposed) * (wanted[0] + wanted[1])
