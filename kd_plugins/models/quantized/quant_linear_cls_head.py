"""A linear classifier whose weights and inputs are discrete."""

from __future__ import annotations

from typing import Any

from mmpretrain.models.heads import LinearClsHead

from kd_plugins.models.quantized.brevitas_layers import brevitas_layers
from kd_plugins.models.quantized.quantizers import require_bits, signed_quantizer, weight_quantizer
from kd_plugins.registry import MODELS

# averages of activations; few are larger
FEATURE_RANGE = 4.0


@MODELS.register_module()
class QuantLinearClsHead(LinearClsHead):
    """mmpretrain's ``LinearClsHead`` with a quantised ``fc``. Its bias, and the scores, are float.

    Args:
        num_classes: Number of classes.
        in_channels: Size of the feature vector.
        bits: Bit width of weights and inputs, 1 to 8. The last layer is usually wider than those before.
        **kwargs: Other arguments of ``LinearClsHead``: loss, topk, cal_acc, init_cfg.

    Shape:
        The last of a tuple of (N, in_channels) -> (N, num_classes).

    Raises:
        UserError: ``bits`` is not 1 to 8, or Brevitas is not installed.
    """

    def __init__(self, num_classes: int, in_channels: int, bits: int = 8, **kwargs: Any) -> None:
        require_bits('bits', bits)
        layers = brevitas_layers()
        super().__init__(num_classes, in_channels, **kwargs)
        self.fc = layers.QuantLinear(
            in_channels,
            num_classes,
            bias=True,
            weight_quant=weight_quantizer(bits),
            input_quant=signed_quantizer(bits, FEATURE_RANGE),
        )
