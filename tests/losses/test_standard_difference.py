"""Standardised maps, against the formula in float64 and numerical derivatives."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from kd_plugins.losses.standard_difference import EPSILON, standard_difference


def formula(feature):
    rows = feature.double().transpose(0, 1).flatten(1)
    rows = (rows - rows.mean(1, keepdim=True)) / (rows.std(1, keepdim=True) + EPSILON)
    return rows.unflatten(1, (len(feature), *feature.shape[2:])).transpose(0, 1)


@pytest.mark.parametrize('shape', [(4, 8, 5, 5), (2, 3, 2, 4, 4)])
@pytest.mark.parametrize('channels_last', [False, True])
def test_difference(shape, channels_last):
    student, teacher = torch.randn(shape), 3 * torch.randn(shape) + 2
    expected = (formula(student) - formula(teacher)).float()
    if channels_last:
        student = student.movedim(1, -1).contiguous().movedim(-1, 1)
    torch.testing.assert_close(standard_difference(student, teacher), expected, rtol=1e-4, atol=1e-5)


def test_first_and_second_derivative():
    maps = [torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert gradcheck(standard_difference, maps)
    assert gradgradcheck(standard_difference, maps)


def test_constant_channel_becomes_zero_without_gradient():
    student = torch.randn(2, 3, 4, 4)
    student[:, 1] = 0.1
    student.requires_grad_()
    difference = standard_difference(student, torch.full((2, 3, 4, 4), 7.0))
    assert difference[:, 1].abs().max() == 0
    (difference * torch.randn(2, 3, 4, 4)).sum().backward()
    assert student.grad[:, 1].abs().max() == 0
    assert student.grad[:, 0].abs().max() > 0
