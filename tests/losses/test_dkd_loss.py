import math

import pytest
import torch

from kd_plugins.losses import DKDLoss, KLDivergence

REDUCTIONS = ['batchmean', 'mean', 'sum', 'none']


def kl(student, teacher):
    return sum(t * math.log(t / s) for s, t in zip(student, teacher, strict=True))


def softmax(logits, tau):
    weights = [math.exp(z / tau) for z in logits]
    return [weight / sum(weights) for weight in weights]


def slow_dkd(student, teacher, labels, tau, alpha, beta):
    """The formulas of the docstring, one sample at a time."""
    out = []
    for s_row, t_row, label in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        s_all, t_all = softmax(s_row, tau)[label], softmax(t_row, tau)[label]
        del s_row[label], t_row[label]
        tckd = kl([s_all, 1 - s_all], [t_all, 1 - t_all])
        out.append(tau**2 * (alpha * tckd + beta * kl(softmax(s_row, tau), softmax(t_row, tau))))
    return torch.tensor(out, dtype=student.dtype)


# student (1/2, 3/8, 1/8), teacher (3/4, 1/8, 1/8), the true class is the first
STUDENT, TEACHER = torch.tensor([[4.0, 3.0, 1.0]]).log(), torch.tensor([[6.0, 1.0, 1.0]]).log()
# (3/4, 1/4) against (1/2, 1/2)
TCKD = 0.75 * math.log(1.5) - 0.25 * math.log(2)
# the others: (1/2, 1/2) against (3/4, 1/4)
NCKD = 0.5 * math.log(2 / 3) + 0.5 * math.log(2)


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (dict(), TCKD + NCKD),
        (dict(alpha=0), NCKD),
        (dict(beta=0), TCKD),
        (dict(alpha=2, beta=8), 2 * TCKD + 8 * NCKD),
        (dict(loss_weight=3), 3 * (TCKD + NCKD)),
    ],
)
def test_numbers_worked_out_by_hand(options, expected):
    assert DKDLoss(**options)(STUDENT, TEACHER, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-5)


def test_temperature_worked_out_by_hand():
    # twice the logits at twice the temperature are the same probabilities; the result is multiplied by 2²
    loss = DKDLoss(tau=2)(2 * STUDENT, 2 * TEACHER, torch.tensor([0]))
    assert loss.item() == pytest.approx(4 * (TCKD + NCKD), rel=1e-5)


@pytest.mark.parametrize('reduction', REDUCTIONS)
@pytest.mark.parametrize('tau', [0.5, 1, 4.0])
@pytest.mark.parametrize(('alpha', 'beta'), [(1, 8), (0.5, 0)])
def test_equals_a_slow_loop(reduction, tau, alpha, beta):
    student, teacher = torch.randn(2, 3, 5, dtype=torch.float64) * 3
    labels = torch.tensor([4, 0, 2])
    expected = slow_dkd(student, teacher, labels, tau, alpha, beta)
    if reduction != 'none':
        expected = expected.sum() / (1 if reduction == 'sum' else 3)
    loss = DKDLoss(tau, alpha, beta, reduction)(student, teacher, labels)
    assert torch.allclose(loss, expected, rtol=1e-9, atol=1e-14)


def test_both_parts_weighed_by_the_teacher_are_the_divergence():
    # KL = TCKD + (1 - p_y) NCKD, equation 7 of the paper
    student, teacher = torch.randn(2, 1, 5, dtype=torch.float64)
    rest = 1 - teacher.softmax(1)[0, 3].item()
    assert torch.allclose(
        DKDLoss(beta=rest)(student, teacher, torch.tensor([3])), KLDivergence()(student, teacher), rtol=1e-9
    )


@pytest.mark.parametrize('reduction', REDUCTIONS)
def test_gradient_of_both(reduction):
    pair = [torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    loss = DKDLoss(2.0, 1.0, 8.0, reduction)
    assert torch.autograd.gradcheck(lambda student, teacher: loss(student, teacher, torch.tensor([0, 3, 1])), pair)


def test_the_others_do_not_see_a_huge_true_class():
    # NCKD of (1/2, 1/2) against (3/4, 1/4), whatever the logits of the true class
    student, teacher = STUDENT.clone(), TEACHER.clone()
    student[0, 0], teacher[0, 0] = 1e4, 2e4
    assert DKDLoss(alpha=0)(student, teacher, torch.tensor([0])).item() == pytest.approx(NCKD, rel=1e-5)


def test_a_true_class_far_away_stays_finite():
    # the student gives it e^-20000 against the teacher's 1: its logarithm is the loss
    student, teacher = torch.tensor([[-1e4, 1e4]]), torch.tensor([[1e4, -1e4]])
    assert DKDLoss()(student, teacher, torch.tensor([0])).item() == pytest.approx(2e4)


def test_a_class_that_the_teacher_rules_out_adds_nothing():
    student = torch.zeros(1, 4, requires_grad=True)
    teacher = torch.tensor([[0.0, 0.0, 0.0, -math.inf]], requires_grad=True)
    # the others: (1/2, 1/2, 0) against (1/3, 1/3, 1/3)
    loss = DKDLoss(alpha=0.0)(student, teacher, torch.tensor([0]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(1.5), rel=1e-5)
    # the true class: (0, 1) against (1/4, 3/4)
    rest = DKDLoss(beta=0.0)(student, teacher, torch.tensor([3]))
    rest.backward()
    assert rest.item() == pytest.approx(math.log(4 / 3), rel=1e-5)
    assert student.grad.isfinite().all()
    assert teacher.grad.isfinite().all()
