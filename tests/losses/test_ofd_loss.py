import pytest
import torch

from kd_plugins.errors import UserError
from kd_plugins.losses import OFDLoss


@pytest.mark.parametrize(
    ('student', 'teacher', 'expected'),
    [
        (2.0, 5.0, 9.0),
        (-3.0, 5.0, 64.0),
        (6.0, 5.0, 1.0),
        (-3.0, -1.0, 0.0),  # already below the teacher, and the ReLU hides both
        (-3.0, 0.0, 0.0),
        (0.5, -1.0, 2.25),
        (-0.5, -1.0, 0.25),  # down to the teacher's margin
    ],
)
def test_numbers_worked_out_by_hand(student, teacher, expected):
    loss = OFDLoss(mul_factor=1)(torch.tensor([[student]]), torch.tensor([[teacher]]))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_samples_are_averaged_and_divided_by_the_factor():
    # 9 + 0 and 2.25 + 1 over two samples and 1000
    student, teacher = torch.tensor([[2.0, -3.0], [0.5, 6.0]]), torch.tensor([[5.0, -1.0], [-1.0, 5.0]])
    assert OFDLoss(loss_weight=4)(student, teacher).item() == pytest.approx(4 * 12.25 / 2 / 1000, rel=1e-6)


def test_gradient_worked_out_by_hand():
    student = torch.tensor([[2.0, -3.0]], requires_grad=True)
    teacher = torch.tensor([[5.0, -1.0]], requires_grad=True)
    OFDLoss(mul_factor=2.0)(student, teacher).backward()
    assert student.grad.tolist() == [[-3.0, 0.0]]  # 2 (s - t) / 2
    assert teacher.grad.tolist() == [[3.0, 0.0]]


@pytest.mark.parametrize('factor', [0, -1.0, None])
def test_a_bad_factor_is_refused(factor):
    with pytest.raises(UserError, match=r'mul_factor: expected a finite number above 0, got .*; the default is 1000'):
        OFDLoss(mul_factor=factor)
