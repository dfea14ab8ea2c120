"""How a layer rounds weights and activations to few levels, at equal steps; gradients pass as if it did not round."""

from __future__ import annotations

from typing import Any

from kd_plugins.arguments import require_positive
from kd_plugins.errors import Fault, UserError

MIN_BITS, MAX_BITS = 1, 8
# the least that a learned range can shrink to, which keeps the division by it finite
MIN_RANGE = 1e-6


def require_bits(name: str, bits: Any) -> None:
    """Refuse what is no bit width.

    Args:
        name: Name of the argument.
        bits: What was given.

    Raises:
        UserError: ``bits`` is not a whole number from 1 to 8.
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not MIN_BITS <= bits <= MAX_BITS:
        expected = f'a whole number of bits from {MIN_BITS} to {MAX_BITS}'
        raise UserError(Fault(name, expected, repr(bits), 'usual values are 2, 4 and 8'))


def weight_quantizer(bits: int) -> Any:
    """Rounds each output channel to 2^bits - 1 levels between minus and plus its largest magnitude; 1 bit is the sign.

    Args:
        bits: Bit width, 1 to 8.

    Returns:
        What Brevitas' layers take as ``weight_quant``.
    """
    from brevitas.inject.enum import QuantType
    from brevitas.quant import Int8WeightPerChannelFloat

    kind = QuantType.BINARY if bits == 1 else QuantType.INT
    return Int8WeightPerChannelFloat.let(bit_width=bits, quant_type=kind)


def signed_quantizer(bits: int, max_value: float) -> Any:
    """Rounds activations of either sign to 2^bits levels between about -r and r, where r is learned; 1 bit is the sign.

    Args:
        bits: Bit width, 1 to 8.
        max_value: Where r starts, above 0.

    Returns:
        What Brevitas' layers take as ``input_quant``.

    Raises:
        UserError: ``max_value`` is not above 0.
    """
    from brevitas.inject.enum import QuantType
    from brevitas.quant import Int8ActPerTensorFloatMinMaxInit

    require_positive('max_value', max_value)
    return Int8ActPerTensorFloatMinMaxInit.let(
        bit_width=bits,
        quant_type=QuantType.BINARY if bits == 1 else QuantType.INT,
        min_val=-float(max_value),
        max_val=float(max_value),
        scaling_min_val=MIN_RANGE,
    )


def unsigned_quantizer(bits: int, max_value: float) -> Any:
    """Rounds activations to 2^bits levels between 0 and r, where r is learned; negative ones become 0.

    Args:
        bits: Bit width, 1 to 8.
        max_value: Where r starts, above 0.

    Returns:
        What Brevitas' layers take as ``act_quant`` or ``input_quant``.

    Raises:
        UserError: ``max_value`` is not above 0.
    """
    from brevitas.quant import Uint8ActPerTensorFloatMaxInit

    require_positive('max_value', max_value)
    return Uint8ActPerTensorFloatMaxInit.let(bit_width=bits, max_val=float(max_value), scaling_min_val=MIN_RANGE)
