"""Rows, their lengths and differences, against the formulas in float64."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from kd_plugins.losses import L2Loss
from kd_plugins.losses.rows import as_rows, squared_length, unit_difference


def scaled(rows, length):
    norm = rows.norm(dim=1, keepdim=True)
    return torch.where(norm == 0, 0.0, length * rows / norm.where(norm != 0, 1.0))


def formula(student, teacher, length):
    return scaled(student.double(), length) - scaled(teacher.double(), length)


@pytest.mark.parametrize('shape', [(3, 5), (4, 64, 7, 7), (2, 3, 5), (2, 8, 2, 4, 4)])
@pytest.mark.parametrize('length', [1.0, 10.0])
def test_difference(shape, length):
    student, teacher = torch.randn(shape), torch.randn(shape)
    rows = as_rows(student, teacher)
    expected = formula(*rows, length)
    torch.testing.assert_close(unit_difference(*rows, length), expected.float(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(squared_length(rows[0]), student.double().square().sum().float())


@pytest.mark.parametrize('exact_zero', [False, True])
def test_first_and_second_derivative(exact_zero):
    rows = [torch.randn(3, 8, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert gradcheck(lambda s, t: unit_difference(s, t, 3.0, exact_zero), rows)
    assert gradgradcheck(lambda s, t: unit_difference(s, t, 3.0, exact_zero), rows)


def test_row_of_zeros_stays_zero_without_gradient():
    student = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    teacher = torch.tensor([[0.0, 2.0], [0.0, 0.0]], requires_grad=True)
    difference = unit_difference(student, teacher)
    torch.testing.assert_close(difference, torch.tensor([[0.0, -1.0], [0.6, 0.8]]))
    (difference * torch.tensor([[1.0, 2.0], [1.0, 0.0]])).sum().backward()
    # e_1 less its part along (0.6, 0.8), over 5
    torch.testing.assert_close(student.grad, torch.tensor([[0.0, 0.0], [0.64, -0.48]]) / 5)
    torch.testing.assert_close(teacher.grad, torch.tensor([[-0.5, 0.0], [0.0, 0.0]]))


def test_second_derivative_where_something_is_zero():
    """Rows of zeros, equal rows, and pieces of rows that are zero, as ReLUs leave them."""
    student, teacher = torch.randn(4, 128, dtype=torch.float64), torch.randn(4, 128, dtype=torch.float64)
    student[0] = teacher[0] = 0
    student[1] = teacher[1]
    student[2, :64] = teacher[2, 32:] = 0
    for normalize in (True, False):
        for dist in (True, False):
            rows = student.clone().requires_grad_()
            loss = L2Loss(normalize=normalize, dist=dist)
            (gradient,) = torch.autograd.grad(loss(rows, teacher), rows, create_graph=True)
            gradient.square().sum().backward()
            assert gradient.isfinite().all()
            assert rows.grad.isfinite().all()
            assert rows.grad[3].abs().max() > 0


@pytest.mark.parametrize('noise', [1.0, 1e-2, 1e-4])
def test_small_distances_keep_their_digits(noise):
    """2 - 2 cos in float32 would be wrong by 1e-7 at least, the whole of the smallest of these."""
    student = torch.randn(8, 256, 7, 7)
    teacher = 3 * (student + noise * torch.randn_like(student))
    # the noise itself is rounded to float32, which is why the exact value comes from what was rounded
    rows = as_rows(student, teacher)
    exact = formula(*rows, 1.0).square().sum() / 8
    assert L2Loss()(student, teacher).item() == pytest.approx(exact.item(), rel=1e-5)


def test_long_rows_keep_their_digits():
    """800000 numbers a sample, as stages of detectors have them."""
    student, teacher = torch.randn(2, 256, 56, 56).relu(), torch.randn(2, 256, 56, 56).relu()
    student.requires_grad_()
    expected = student.detach().double().requires_grad_()
    L2Loss()(student, teacher).backward()
    exact = formula(expected.flatten(1), teacher.flatten(1), 1.0).square().sum() / 2
    exact.backward()
    assert L2Loss()(student, teacher).item() == pytest.approx(exact.item(), rel=1e-6)
    assert ((student.grad - expected.grad).norm() / expected.grad.norm()).item() < 1e-6


def test_equal_rows_differ_by_nothing_where_it_matters():
    rows = torch.randn(4, 1000)
    assert unit_difference(rows, rows.clone(), exact_zero=True).abs().max() == 0
    assert unit_difference(rows, rows.clone()).abs().max() < 1e-8


@pytest.mark.parametrize('layout', [torch.channels_last, torch.contiguous_format])
def test_maps_are_not_copied(layout):
    student, teacher = (torch.randn(2, 3, 4, 5).contiguous(memory_format=layout) for _ in range(2))
    rows = as_rows(student, teacher)
    assert [row.data_ptr() for row in rows] == [student.data_ptr(), teacher.data_ptr()]
    assert rows[0].shape == (2, 60)


def test_layouts_may_differ():
    student, teacher = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    loss = L2Loss()(student, teacher)
    for layouts in ((0, 1), (1, 0), (1, 1)):
        formats = [(torch.contiguous_format, torch.channels_last)[which] for which in layouts]
        maps = [part.contiguous(memory_format=form) for part, form in zip((student, teacher), formats, strict=True)]
        torch.testing.assert_close(L2Loss()(*maps), loss)
