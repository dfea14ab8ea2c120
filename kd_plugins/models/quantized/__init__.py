"""Layers whose weights and activations are discrete, and the file that ships them.

Brevitas computes the layers. It is the extra ``quantized`` of this package, and imported when the first one is built.
"""

from kd_plugins.models.quantized.packed import (
    load_packed,
    quantized_layers,
    read_packed,
    save_packed,
    shipped_bytes,
)
from kd_plugins.models.quantized.quant_conv import quant_conv2d
from kd_plugins.models.quantized.quant_linear_cls_head import QuantLinearClsHead
from kd_plugins.models.quantized.quant_relu import quant_relu

__all__ = [
    'QuantLinearClsHead',
    'load_packed',
    'quant_conv2d',
    'quant_relu',
    'quantized_layers',
    'read_packed',
    'save_packed',
    'shipped_bytes',
]
