import pytest
import torch

from kd_plugins.losses.float32 import in_float32


@in_float32
def matrix_product(self, a, b):
    assert a.dtype == b.dtype
    return a @ b


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
def test_autocast_is_off_inside_and_on_again_outside(dtype):
    a, b = torch.randn(2, 3, 3).to(dtype)
    with torch.autocast('cpu', torch.bfloat16):
        assert matrix_product(None, a, b=b).dtype == torch.float32
        assert torch.equal(matrix_product(None, a, b=b), matrix_product(None, a.float(), b.float()))
        assert (a.float() @ b.float()).dtype == torch.bfloat16


def test_double_precision_is_left_alone():
    assert matrix_product(None, torch.ones(2, 2).double(), torch.ones(2, 2).double()).dtype == torch.float64


def test_wide_tensors_are_not_copied_and_other_values_pass():
    seen = []
    value, other = torch.ones(2), [torch.ones(2).half()]
    in_float32(lambda self, *args: seen.extend(args))(None, value, other, 3)
    assert seen[0] is value
    assert seen[1] is other
    assert seen[2] == 3
