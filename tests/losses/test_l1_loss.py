import pytest
import torch

from kd_plugins.errors import UserError
from kd_plugins.losses import L1Loss

STUDENT = torch.tensor([[3.0, 4.0], [1.0, 1.0]])
TEACHER = torch.tensor([[0.0, 5.0], [1.0, 3.0]])


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        # 3 + 1 + 0 + 2 = 6 over four elements
        (dict(), 1.5),
        (dict(loss_weight=10), 15.0),
        (dict(reduction='sum'), 6.0),
        # … over two samples
        (dict(reduction='batchmean'), 3.0),
    ],
)
def test_numbers_worked_out_by_hand(options, expected):
    assert L1Loss(**options)(STUDENT, TEACHER).item() == expected


def test_elements_are_kept():
    assert L1Loss(2.0, reduction='none')(STUDENT, TEACHER).tolist() == [[6.0, 2.0], [0.0, 4.0]]


@pytest.mark.parametrize(
    ('size_average', 'reduce', 'reduction'),
    [
        (True, None, 'mean'),
        (False, None, 'sum'),
        (None, True, 'mean'),
        (None, False, 'none'),
        (False, True, 'sum'),
        (False, False, 'none'),
        (None, None, 'batchmean'),
    ],
)
def test_what_torch_had_before_reduction_overrides_it(size_average, reduce, reduction):
    given = L1Loss(size_average=size_average, reduce=reduce, reduction='batchmean')
    assert torch.equal(given(STUDENT, TEACHER), L1Loss(reduction=reduction)(STUDENT, TEACHER))


def test_gradient_worked_out_by_hand():
    student = STUDENT.clone().requires_grad_()
    L1Loss()(student, TEACHER).backward()
    assert student.grad.tolist() == [[0.25, -0.25], [0.0, -0.25]]  # the sign over four elements; none where equal


@pytest.mark.parametrize('reduction', ['avg', None])
def test_an_unknown_reduction_is_refused(reduction):
    with pytest.raises(UserError, match=rf"reduction: expected one of 'none', .*, got {reduction!r}; 'mean' is"):
        L1Loss(reduction=reduction)
