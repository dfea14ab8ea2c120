"""Small whole numbers, many to a byte."""

from __future__ import annotations

import numpy as np


def packed_size(count: int, bits: int) -> int:
    """Bytes that ``count`` numbers of ``bits`` bits take."""
    return (count * bits + 7) // 8


def pack_bits(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Put numbers one behind the other, the lowest bit first.

    Args:
        numbers: (N), whole numbers from 0 to 2^bits - 1.
        bits: Bits of each, 1 to 8.

    Returns:
        uint8 of size (ceil(N * bits / 8)); the bits left over in the last byte are 0.
    """
    split = (numbers.astype(np.uint8)[:, None] >> np.arange(bits, dtype=np.uint8)) & 1  # (N) -> (N, bits)
    return np.packbits(split.reshape(-1), bitorder='little')


def unpack_bits(packed: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Undo :func:`pack_bits`.

    Args:
        packed: uint8, of :func:`packed_size` bytes.
        bits: Bits of each number, 1 to 8.
        count: How many numbers there are.

    Returns:
        (count), uint8.
    """
    split = np.unpackbits(packed, count=count * bits, bitorder='little').reshape(count, bits)
    return (split << np.arange(bits, dtype=np.uint8)).sum(axis=1, dtype=np.uint8)
