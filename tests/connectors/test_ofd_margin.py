import math

import pytest
import torch
from torch import nn

import kd_plugins.compat.mmrazor  # noqa: F401  makes mmrazor importable
from kd_plugins.connectors import batch_norm_margin
from kd_plugins.errors import UserError


def batch_norm(std, mean, dtype=torch.float64):
    norm = nn.BatchNorm2d(len(std)).to(dtype)
    norm.weight.data, norm.bias.data = torch.tensor(std, dtype=dtype), torch.tensor(mean, dtype=dtype)
    return norm


def slow_expectation(std, mean):
    """The mean of a normal distribution's negative part, by the trapezoidal rule over twelve standard deviations."""
    x = torch.linspace(min(mean, 0) - 12 * std, 0, 200_001, dtype=torch.float64)
    density = torch.exp(-(((x - mean) / std) ** 2) / 2)
    return (torch.trapezoid(x * density, x) / torch.trapezoid(density, x)).item()


def test_numbers_worked_out_by_hand():
    # half of a standard normal distribution has the mean sqrt(2 / pi), whatever the sign of the weight
    margin = batch_norm_margin(batch_norm([1.0, -2.0], [0.0, 0.0]))
    assert margin.shape == (1, 2, 1, 1)
    half = math.sqrt(2 / math.pi)
    assert margin.flatten().tolist() == pytest.approx([-half, -2 * half])


@pytest.mark.parametrize('std', [0.01, 1.0, 30.0])
@pytest.mark.parametrize('ratio', [-8.0, -3.0, -1.0, -0.1, 0.0, 0.5, 1.0, 2.0, 3.0])
def test_equals_the_integral(std, ratio):
    margin = batch_norm_margin(batch_norm([std], [ratio * std])).item()
    assert margin == pytest.approx(slow_expectation(std, ratio * std), rel=1e-7)


@pytest.mark.parametrize('ratio', [3.1, 10.0, 100.0, 1e30])
def test_three_standard_deviations_where_hardly_anything_is_negative(ratio):
    # one in a thousand lies 3.0902 standard deviations below the mean
    assert batch_norm_margin(batch_norm([2.0], [2 * ratio])).item() == -6


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
def test_extremes_are_finite(dtype):
    norm = batch_norm([0.0, 0.0, 0.0, 1e-7, 1e-7, 1e4, 1e4], [0.0, 2.0, -2.0, 5.0, -5.0, 1e-6, -1e4], dtype)
    margin = batch_norm_margin(norm)
    assert margin.dtype == dtype
    assert margin.isfinite().all()
    assert (margin <= 0).all()
    # a channel of one value: that value where it is negative
    assert margin.flatten()[:3].tolist() == [0, 0, -2]
    assert margin.flatten()[4].item() == pytest.approx(-5)


def test_no_gradient():
    assert not batch_norm_margin(nn.BatchNorm2d(3)).requires_grad


def test_synchronised_batch_norm():
    assert batch_norm_margin(nn.SyncBatchNorm(3)).shape == (1, 3, 1, 1)


@pytest.mark.parametrize('norm', [nn.ReLU(), nn.GroupNorm(2, 4), nn.BatchNorm2d(4, affine=False)], ids=str)
def test_other_modules_are_refused(norm):
    with pytest.raises(UserError) as caught:
        batch_norm_margin(norm)
    assert 'norm: expected a BatchNorm with weight and bias' in str(caught.value)
    assert f'got {norm}' in str(caught.value)


def test_the_same_as_mmrazors():
    pytest.importorskip('mmrazor', reason='pip install kd_plugins[parity]')
    pytest.importorskip('scipy')
    from mmrazor.models.distillers import OFDDistiller

    norm = batch_norm(torch.rand(64).tolist(), torch.randn(64).tolist(), torch.float32)
    theirs = OFDDistiller._get_margin_from_BN(None, norm)
    ours = batch_norm_margin(norm)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    assert torch.allclose(ours, theirs, rtol=1e-6, atol=0)
