"""A convolution whose weights, and inputs where asked, are discrete."""

from __future__ import annotations

from torch import nn

from kd_plugins.models.quantized.brevitas_layers import brevitas_layers
from kd_plugins.models.quantized.quantizers import (
    require_bits,
    signed_quantizer,
    unsigned_quantizer,
    weight_quantizer,
)
from kd_plugins.registry import MODELS

# more channels than an image has
MAX_IMAGE_CHANNELS = 4
# normalised with the mean and standard deviation of its data set, an image seldom has larger values
IMAGE_RANGE = 3.0
# behind a BatchNorm, few values are larger
FEATURE_RANGE = 4.0


@MODELS.register_module('QuantConv2d')
def quant_conv2d(
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    weight_bits: int = 4,
    input_bits: int | None = None,
    input_signed: bool = True,
    image_bits: int = 8,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] | str = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    bias: bool = True,
    padding_mode: str = 'zeros',
) -> nn.Module:
    """Build a 2D convolution with discrete weights, a scale for each output channel.

    For ``conv_cfg=dict(type='kd_plugins.QuantConv2d', weight_bits=4)``. Behind a :func:`quant_relu` its inputs are
    discrete already. The layer that reads the image, known by its at most 4 input channels, has bits of its own: for
    its weights, and for the image, which it rounds first.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Size of the kernel.
        weight_bits: Bit width of the weights, 1 to 8.
        input_bits: Bit width that inputs are rounded to, 1 to 8, for layers behind another activation than
            :func:`quant_relu`, or behind none. None leaves them as they are.
        input_signed: Whether such inputs can be negative; behind a ReLU they cannot, and False has twice the levels.
        image_bits: Bit width of weights and inputs of the layer that reads the image, 1 to 8.
        stride: As for ``torch.nn.Conv2d``, like the arguments below.
        padding: Zeros around the input.
        dilation: Distance of the kernel's elements.
        groups: Number of groups of channels.
        bias: Whether there is a bias, which is float.
        padding_mode: What the padding is made of.

    Returns:
        Brevitas' ``QuantConv2d``, which is a ``torch.nn.Conv2d``.

    Raises:
        UserError: Bits are not 1 to 8, or Brevitas is not installed.
    """
    # mmcv builds a convolution in a way that loses its key path
    require_bits('conv_cfg.weight_bits', weight_bits)
    require_bits('conv_cfg.image_bits', image_bits)
    if input_bits is not None:
        require_bits('conv_cfg.input_bits', input_bits)
    layers = brevitas_layers('conv_cfg.type')
    if in_channels <= MAX_IMAGE_CHANNELS and groups == 1:
        weight_bits, input_quant = image_bits, signed_quantizer(image_bits, IMAGE_RANGE)
    elif input_bits is None:
        input_quant = None
    else:
        input_quant = (signed_quantizer if input_signed else unsigned_quantizer)(input_bits, FEATURE_RANGE)
    return layers.QuantConv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bias,
        padding_mode=padding_mode,
        weight_quant=weight_quantizer(weight_bits),
        input_quant=input_quant,
    )
