import math

import pytest
import torch

from kd_plugins.errors import UserError
from kd_plugins.losses import KDSoftCELoss, KLDivergence

REDUCTIONS = ['none', 'mean', 'sum']


def slow_soft_ce(student, teacher, tau):
    """The formula of the docstring without tau squared, one sample at a time."""
    out = []
    for s_row, t_row in zip(student.tolist(), teacher.tolist(), strict=True):
        s_weights, t_weights = ([math.exp(z / tau) for z in row] for row in (s_row, t_row))
        out.append(
            -sum(t / sum(t_weights) * math.log(s / sum(s_weights)) for s, t in zip(s_weights, t_weights, strict=True))
        )
    return torch.tensor(out, dtype=student.dtype)


@pytest.mark.parametrize(
    ('options', 'factor'),
    [
        (dict(), 1),
        # (2 ln 3, 0) / 2 is (ln 3, 0) again, and the result is multiplied by 2²
        (dict(tau=2), 4),
        (dict(tau=2, mult_tem_square=False), 1),
        (dict(loss_weight=3), 3),
    ],
)
def test_numbers_worked_out_by_hand(options, factor):
    # labels (3/4, 1/4) for predictions (1/4, 3/4): -3/4 ln 1/4 - 1/4 ln 3/4
    tau = options.get('tau', 1)
    loss = KDSoftCELoss(**options)(tau * torch.tensor([[0, math.log(3)]]), tau * torch.tensor([[math.log(3), 0]]))
    assert loss.item() == pytest.approx(factor * (0.75 * math.log(4) + 0.25 * math.log(4 / 3)), rel=1e-6)


@pytest.mark.parametrize('reduction', REDUCTIONS)
@pytest.mark.parametrize('tau', [0.5, 1, 4.0])
@pytest.mark.parametrize('square', [True, False])
def test_equals_a_slow_loop(reduction, tau, square):
    student, teacher = torch.randn(2, 3, 5, dtype=torch.float64) * 3
    expected = 2 * slow_soft_ce(student, teacher, tau) * (tau**2 if square else 1)
    expected = expected if reduction == 'none' else getattr(expected, reduction)()
    assert torch.allclose(KDSoftCELoss(tau, reduction, square, 2)(student, teacher), expected, rtol=1e-12)


@pytest.mark.parametrize('reduction', REDUCTIONS)
def test_gradient_of_both(reduction):
    pair = [torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(KDSoftCELoss(2.0, reduction), pair)


def test_has_the_gradient_of_the_divergence():
    gradients = []
    student, teacher = torch.randn(2, 3, 5, dtype=torch.float64)
    for loss in (KDSoftCELoss(4.0), KLDivergence(4.0)):
        leaf = student.clone().requires_grad_()
        loss(leaf, teacher).backward()
        gradients.append(leaf.grad)
    assert torch.allclose(*gradients)


def test_tokens_are_samples():
    student, teacher = torch.randn(2, 2, 3, 5)
    loss = KDSoftCELoss(reduction='none')
    assert loss(student, teacher).shape == (2, 3)
    assert torch.allclose(loss(student, teacher).flatten(), loss(student.flatten(0, 1), teacher.flatten(0, 1)))


def test_weights_and_their_average():
    student, teacher = torch.randn(2, 3, 5)
    each, weight = KDSoftCELoss(reduction='none')(student, teacher), torch.tensor([1.0, 0.0, 2.0])
    loss = KDSoftCELoss()
    assert torch.allclose(loss(student, teacher, weight), (each * weight).sum() / 3)
    assert torch.allclose(loss(student, teacher, weight, avg_factor=2), (each * weight).sum() / 2)
    assert torch.allclose(loss(student, teacher, weight, avg_factor=torch.tensor(2.0)), (each * weight).sum() / 2)
    assert torch.allclose(loss(student, teacher, weight, reduction_override='sum'), (each * weight).sum())
    assert torch.allclose(loss(student, teacher, weight, 2, 'none'), each * weight)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(weight=torch.ones(2)), r'weight: expected one number a sample, \(3,\), got \(2,\)'),
        (dict(weight=torch.ones(3, 5)), r'weight: expected one number a sample, \(3,\), got \(3, 5\)'),
        (dict(weight=[1, 1, 1]), 'weight: expected .*, got a list'),
        (dict(avg_factor=0), 'avg_factor: expected a finite number above 0, got 0'),
        (dict(avg_factor=2, reduction_override='sum'), "avg_factor: expected none for the reduction 'sum', got 2"),
        (dict(reduction_override='avg'), "reduction_override: expected one of 'none', 'mean', 'sum', got 'avg'"),
    ],
)
def test_options_of_a_call_that_do_not_fit_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        KDSoftCELoss()(torch.zeros(3, 5), torch.zeros(3, 5), **options)


def test_maps_are_refused():
    # their classes are not the last dimension, over which a softmax would silently be taken
    with pytest.raises(UserError, match=r'preds_S: .*KLDivergence takes maps'):
        KDSoftCELoss()(torch.zeros(2, 5, 4, 4), torch.zeros(2, 5, 4, 4))
