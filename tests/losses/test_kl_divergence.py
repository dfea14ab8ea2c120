import itertools
import math

import pytest
import torch

from kd_plugins.errors import UserError
from kd_plugins.losses import KLDivergence
from kd_plugins.registry import MODELS

REDUCTIONS = ['batchmean', 'mean', 'sum', 'none']
SHAPES = [(3, 5), (2, 4, 2, 3)]
# softmax(ln 3, 0) = (3/4, 1/4) and softmax(0, 0) = (1/2, 1/2), so
# KL = 3/4 ln(3/4 / 1/2) + 1/4 ln(1/4 / 1/2) = 3/4 ln 3/2 - 1/4 ln 2 = 0.1308
HAND = 0.75 * math.log(1.5) - 0.25 * math.log(2)


def slow_kl(student, teacher, tau, reduction, loss_weight):
    """The formula of the docstring, one pixel of one sample at a time."""
    out = torch.zeros_like(student)
    places = itertools.product(*(range(size) for size in (student.shape[0], *student.shape[2:])))
    for sample, *pixel in places:
        at = (sample, slice(None), *pixel)
        s_weights = [math.exp(z / tau) for z in student[at].tolist()]
        t_weights = [math.exp(z / tau) for z in teacher[at].tolist()]
        for c in range(student.shape[1]):
            p_s, p_t = s_weights[c] / sum(s_weights), t_weights[c] / sum(t_weights)
            out[(sample, c, *pixel)] = loss_weight * tau**2 * p_t * (math.log(p_t) - math.log(p_s))
    divide = {'batchmean': student.shape[0], 'mean': student.numel(), 'sum': 1}
    return out if reduction == 'none' else out.sum() / divide[reduction]


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (dict(), HAND),
        # over 1 sample and 2 classes
        (dict(reduction='mean'), HAND / 2),
        (dict(reduction='sum'), HAND),
        (dict(loss_weight=10), 10 * HAND),
    ],
)
def test_numbers_worked_out_by_hand(options, expected):
    loss = KLDivergence(**options)(torch.zeros(1, 2), torch.tensor([[math.log(3), 0.0]]))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_temperature_worked_out_by_hand():
    # (2 ln 3, 0) / 2 is (ln 3, 0) again; the result is multiplied by 2²
    loss = KLDivergence(tau=2)(torch.zeros(1, 2), torch.tensor([[2 * math.log(3), 0.0]]))
    assert loss.item() == pytest.approx(4 * HAND, rel=1e-5)


def test_it_is_the_students_distance_from_the_teacher():
    # the other way round: 1/2 ln(1/2 / 3/4) + 1/2 ln(1/2 / 1/4) = 0.1438
    loss = KLDivergence()(torch.tensor([[math.log(3), 0.0]]), torch.zeros(1, 2))
    assert loss.item() == pytest.approx(0.5 * math.log(2 / 3) + 0.5 * math.log(2), rel=1e-5)


@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('reduction', REDUCTIONS)
@pytest.mark.parametrize('tau', [0.5, 1, 4.0])
def test_equals_a_slow_loop(shape, reduction, tau):
    student, teacher = torch.randn(2, *shape, dtype=torch.float64) * 3
    loss = KLDivergence(tau, reduction, loss_weight=3)(student, teacher)
    assert torch.allclose(loss, slow_kl(student, teacher, tau, reduction, 3), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('reduction', REDUCTIONS)
@pytest.mark.parametrize('tau', [1, 4.0])
def test_gradient_of_both(shape, reduction, tau):
    student, teacher = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(2))
    loss = KLDivergence(tau, reduction, teacher_detach=False)
    assert torch.autograd.gradcheck(loss, (student, teacher))


@pytest.mark.parametrize('tau', [1.0, 2.0])
def test_gradient_worked_out_by_hand(tau):
    # dL/dz = tau (p_S - p_T), with p_S = (1/2, 1/2) and p_T = (3/4, 1/4)
    student = torch.zeros(1, 2, requires_grad=True)
    KLDivergence(tau)(student, torch.tensor([[tau * math.log(3), 0.0]])).backward()
    assert torch.allclose(student.grad, tau * torch.tensor([[-0.25, 0.25]]))


@pytest.mark.parametrize('teacher_detach', [True, False])
def test_teacher_detach(teacher_detach):
    student, teacher = (torch.randn(2, 4, requires_grad=True) for _ in range(2))
    KLDivergence(teacher_detach=teacher_detach)(student, teacher).backward()
    assert student.grad is not None
    assert (teacher.grad is None) == teacher_detach


def test_far_away_logits_stay_finite():
    student = torch.tensor([[1e4, -1e4]], requires_grad=True)
    loss = KLDivergence()(student, torch.tensor([[-1e4, 1e4]]))
    loss.backward()
    assert loss.item() == pytest.approx(2e4)
    assert student.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('reduction', REDUCTIONS)
def test_half_precision_is_computed_in_float32(dtype, reduction):
    loss = KLDivergence(6, reduction, loss_weight=1e4)
    student = (torch.randn(8, 100) * 10).to(dtype).requires_grad_()
    teacher = (torch.randn(8, 100) * 10).to(dtype)
    value = loss(student, teacher)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(student.float(), teacher.float()))
    value.sum().backward()
    assert student.grad.dtype == dtype


def test_autocast_changes_nothing():
    student, teacher = torch.randn(2, 8, 10)
    with torch.autocast('cpu', torch.bfloat16):
        value = KLDivergence(4)(student, teacher)
        narrow = KLDivergence(4)(student.bfloat16(), teacher.bfloat16())
    assert value.dtype == narrow.dtype == torch.float32
    assert torch.equal(value, KLDivergence(4)(student, teacher))
    assert torch.equal(narrow, KLDivergence(4)(student.bfloat16().float(), teacher.bfloat16().float()))


@pytest.mark.parametrize('reduction', REDUCTIONS)
def test_an_empty_batch_gives_a_zero_with_a_graph(reduction):
    student = torch.zeros(0, 10, requires_grad=True)
    loss = KLDivergence(reduction=reduction)(student, torch.zeros(0, 10))
    loss.backward()
    assert loss.item() == 0
    assert student.grad.shape == student.shape


def test_constant_zero_logits_are_finite():
    student = torch.zeros(2, 10, requires_grad=True)
    loss = KLDivergence()(student, torch.zeros(2, 10))
    loss.backward()
    assert loss.item() == 0
    assert student.grad.abs().max() < 1e-6


@pytest.mark.parametrize('tau', [0, -1, float('nan')])
def test_a_bad_temperature_is_refused(tau):
    with pytest.raises(UserError, match=r'tau: expected a finite number above 0, got .*; usual values'):
        KLDivergence(tau=tau)


def test_an_unknown_reduction_is_refused():
    with pytest.raises(UserError, match=r"reduction: expected one of 'batchmean', 'mean', 'sum', 'none', got 'avg'"):
        KLDivergence(reduction='avg')


def test_other_shapes_are_refused():
    with pytest.raises(UserError) as caught:
        KLDivergence()(torch.zeros(4, 10), torch.zeros(4, 100))
    for part in ('preds_S (4, 10)', 'preds_T (4, 100)', 'give both models the same one'):
        assert part in str(caught.value)


def test_what_is_no_tensor_is_refused():
    with pytest.raises(UserError, match=r'preds_T: expected a tensor, got a tuple; .*data_idx'):
        KLDivergence()(torch.zeros(4, 10), (torch.zeros(4, 10),))


def test_is_registered():
    assert MODELS.build(dict(type='KLDivergence', tau=6)).tau == 6


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16])
def test_a_class_that_the_teacher_rules_out_adds_nothing(dtype):
    student = torch.zeros(2, 3, dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[0.0, 0.0, -math.inf]] * 2, dtype=dtype, requires_grad=True)
    loss = KLDivergence(teacher_detach=False)(student, teacher)
    loss.backward()
    # (1/2, 1/2, 0) against (1/3, 1/3, 1/3)
    assert loss.item() == pytest.approx(math.log(1.5), rel=1e-5)
    assert student.grad[0].tolist() == pytest.approx([-1 / 12, -1 / 12, 1 / 6], rel=1e-3)
    assert teacher.grad.isfinite().all()
