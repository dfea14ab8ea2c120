"""Numbers of few bits, many to a byte."""

import numpy as np
import pytest

from kd_plugins.models.quantized.bit_packing import pack_bits, packed_size, unpack_bits


def test_by_hand():
    # 1 | 2 << 3 | 7 << 6 = 465 = 0xD1 + 256
    assert pack_bits(np.array([1, 2, 7]), 3).tolist() == [0xD1, 1]
    assert pack_bits(np.array([1, 0, 1, 1, 0, 0, 0, 0, 1]), 1).tolist() == [0b1101, 1]
    assert pack_bits(np.array([3, 10]), 4).tolist() == [0xA3]


@pytest.mark.parametrize('bits', range(1, 9))
@pytest.mark.parametrize('count', [0, 1, 7, 8, 1001])
def test_comes_back_as_it_was(bits, count):
    numbers = np.random.default_rng(0).integers(0, 2**bits, count)
    packed = pack_bits(numbers, bits)
    assert packed.dtype == np.uint8
    assert len(packed) == packed_size(count, bits) == -(-count * bits // 8)
    np.testing.assert_array_equal(unpack_bits(packed, bits, count), numbers)
