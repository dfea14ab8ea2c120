"""What is stored of a record, and what comes back."""

import math

import numpy as np
import pytest
import torch

from kd_plugins.errors import UserError
from kd_plugins.teacher.cache import Array, Part, decode, encode, recode


def top(count, classes, dtype='float32'):
    parts = Part('a.classes', (count,), 'uint16'), Part('a.log_probabilities', (count + 1,), dtype)
    return Array({'source': 'head.fc'}, parts, classes)


def whole(shape, dtype):
    return Array({'source': 'neck'}, (Part('a', shape, dtype),))


def back(array, record):
    classes = array.classes is not None
    parts = [
        torch.from_numpy(part.astype(np.int64) if classes and not i else part)
        for i, part in enumerate(encode(array, record))
    ]
    return decode(array, parts)


def test_the_rest_of_the_mass_is_spread_evenly():
    # by hand: of 0.5, 0.3, 0.15 and 0.05 the largest two stay, and the others share 0.2
    probabilities = torch.tensor([[0.15, 0.5, 0.05, 0.3]])
    array = top(2, 4)

    classes, values = encode(array, probabilities.log() + 7)  # logits are defined up to a constant
    assert classes.tolist() == [[1, 3]]
    assert values[0].tolist() == pytest.approx([math.log(0.5), math.log(0.3), math.log(0.2)], abs=1e-6)
    torch.testing.assert_close(back(array, probabilities.log()).exp(), torch.tensor([[0.1, 0.5, 0.1, 0.3]]))


def test_all_classes_but_one_lose_nothing():
    logits = torch.randn(6, 9) * 5
    torch.testing.assert_close(back(top(8, 9), logits), logits.log_softmax(1), rtol=1e-5, atol=1e-5)


def test_a_mass_too_small_for_a_probability_is_kept():
    logits = torch.tensor([[200.0, 0.0, 0.0]])
    # log(2) - 200 by hand: two classes of e^-200, which float32 cannot hold
    assert encode(top(1, 3), logits)[1][0, 1] == pytest.approx(math.log(2) - 200)


@pytest.mark.parametrize('dtype', ['float16', 'float32'])
def test_features_come_back_in_float32(dtype):
    record = torch.randn(3, 2, 4, 4)
    returned = back(whole((2, 4, 4), dtype), record)
    assert returned.dtype == torch.float32
    torch.testing.assert_close(returned, record, rtol=2**-11 if dtype == 'float16' else 0, atol=1e-7)


def test_whole_numbers_stay_as_they_are():
    record = torch.tensor([[2**40], [-1]])
    assert torch.equal(back(whole((1,), 'int64'), record), record)


def test_a_value_beyond_float16_is_refused_with_the_way_out():
    record = torch.tensor([[1.0, 65504.0]])  # the largest of float16
    encode(whole((2,), 'float16'), record)
    with pytest.raises(
        UserError, match=r"--dtype: expected values up to 65504, got 70000 .*'neck'; add --dtype float32"
    ):
        encode(whole((2,), 'float16'), torch.tensor([[1.0, -70000.0]]))


def test_recoding_looks_at_the_classes_that_were_stored():
    array = top(1, 3)
    stored = encode(array, torch.tensor([[1.0, 1.0 + 1e-6, 0.0]]))
    fresh = recode(array, torch.tensor([[1.0 + 1e-6, 1.0, 0.0]]), stored)
    assert np.abs(fresh - stored[1]).max() < 1e-5
