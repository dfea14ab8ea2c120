"""Counts floating point operations."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count, sdpa_backward_flop_count, sdpa_flop_count


def flop_counter() -> FlopCounterMode:
    """A context that counts the operations of convolutions, matrix products and attention, forward and backward.

    PyTorch's own (2.11) is wrong in two places: it takes the gradient of a grouped convolution's weight for as many
    times its cost as there are groups, and it does not know the attention kernel of a CPU, which it counts as nothing.
    """
    aten = torch.ops.aten
    formulas = {
        aten.convolution_backward: _convolution_backward,
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    }
    return FlopCounterMode(display=False, custom_mapping=formulas)


def _convolution_backward(gradient: list[int], inputs: list[int], weight: list[int], *arguments: Any, **_: Any) -> int:
    """Each of the gradients, that of the input and that of the weight, takes what the forward takes."""
    _bias, _stride, _padding, _dilation, transposed, _output_padding, _groups, wanted = arguments
    return conv_flop_count(inputs, weight, gradient, transposed) * (wanted[0] + wanted[1])


def _attention(query: list[int], key: list[int], value: list[int], *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(
    gradient: list[int], query: list[int], key: list[int], value: list[int], *_: Any, **__: Any
) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)
