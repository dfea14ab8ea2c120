"""A ReLU whose outputs are discrete."""

from __future__ import annotations

from torch import nn

from kd_plugins.models.quantized.brevitas_layers import brevitas_layers
from kd_plugins.models.quantized.quantizers import require_bits, unsigned_quantizer
from kd_plugins.registry import MODELS


@MODELS.register_module('QuantReLU')
def quant_relu(bits: int = 4, max_value: float = 4.0, inplace: bool = False) -> nn.Module:
    """Build an activation with 2^bits output levels between 0 and a learned maximum, at equal steps.

    For ``act_cfg=dict(type='kd_plugins.QuantReLU', bits=4)``. What lies above the maximum becomes the maximum, whose
    gradient says whether that was worth it.

    Paper: PACT: Parameterized Clipping Activation for Quantized Neural Networks, https://arxiv.org/abs/1805.06085

    Args:
        bits: Bit width, 1 to 8.
        max_value: The maximum at first, above 0. The default suits what a BatchNorm gives.
        inplace: Accepted, because mmcv passes it to every activation; the input is never overwritten.

    Returns:
        Brevitas' ``QuantReLU``.

    Raises:
        UserError: ``bits`` is not 1 to 8, ``max_value`` is not above 0, or Brevitas is not installed.
    """
    require_bits('bits', bits)
    layers = brevitas_layers()
    return layers.QuantReLU(act_quant=unsigned_quantizer(bits, max_value))
