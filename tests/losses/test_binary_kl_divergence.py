import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from kd_plugins.errors import UserError
from kd_plugins.losses import BinaryKLDivergence, KLDivergence
from kd_plugins.registry import MODELS

REDUCTIONS = ['batchmean', 'mean', 'sum', 'none']
SHAPES = [(3, 5), (2, 4, 2, 3)]
# sigmoid(ln 3) = 3/4 at the teacher and sigmoid(0) = 1/2 at the student, so
# KL = 3/4 ln(3/4 / 1/2) + 1/4 ln(1/4 / 1/2) = 3/4 ln 3/2 - 1/4 ln 2 = 0.1308
HAND = 0.75 * math.log(1.5) - 0.25 * math.log(2)


def slow_binary_kl(student, teacher, tau, reduction, loss_weight):
    """The formula of the docstring, one element at a time."""
    out = torch.zeros_like(student)
    for at in itertools.product(*(range(size) for size in student.shape)):
        q_s, q_t = (1 / (1 + math.exp(-side[at].item() / tau)) for side in (student, teacher))
        both = q_t * math.log(q_t / q_s) + (1 - q_t) * math.log((1 - q_t) / (1 - q_s))
        out[at] = loss_weight * tau**2 * both
    divide = {'batchmean': student.shape[0], 'mean': student.numel(), 'sum': 1}
    return out if reduction == 'none' else out.sum() / divide[reduction]


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        # two samples with two classes each, three of the four elements are equal
        (dict(), HAND / 2),
        (dict(reduction='mean'), HAND / 4),
        (dict(reduction='sum'), HAND),
        (dict(loss_weight=10), 5 * HAND),
    ],
)
def test_numbers_worked_out_by_hand(options, expected):
    teacher = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
    assert BinaryKLDivergence(**options)(torch.zeros(2, 2), teacher).item() == pytest.approx(expected, rel=1e-5)


def test_temperature_worked_out_by_hand():
    # 2 ln 3 / 2 is ln 3 again; the result is multiplied by 2²
    loss = BinaryKLDivergence(tau=2)(torch.zeros(1, 1), torch.tensor([[2 * math.log(3)]]))
    assert loss.item() == pytest.approx(4 * HAND, rel=1e-5)


@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('reduction', REDUCTIONS)
@pytest.mark.parametrize('tau', [0.5, 1, 4.0])
def test_equals_a_slow_loop(shape, reduction, tau):
    student, teacher = torch.randn(2, *shape, dtype=torch.float64) * 3
    loss = BinaryKLDivergence(tau, reduction, loss_weight=3)(student, teacher)
    assert torch.allclose(loss, slow_binary_kl(student, teacher, tau, reduction, 3), rtol=1e-9, atol=1e-13)


def test_is_the_cross_entropy_less_the_entropy_of_the_teacher():
    # independently of any logarithm of ours: torch's binary cross entropy with soft targets
    student, teacher = torch.randn(2, 8, 20, dtype=torch.float64)
    targets = teacher.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(teacher, targets, reduction='sum')
    expected = (F.binary_cross_entropy_with_logits(student, targets, reduction='sum') - entropy) / 8
    torch.testing.assert_close(BinaryKLDivergence()(student, teacher), expected)


def test_a_class_is_a_softmax_over_yes_and_no():
    student, teacher = torch.randn(2, 6, 1, dtype=torch.float64)
    pair = [torch.cat([side, torch.zeros_like(side)], dim=1) for side in (student, teacher)]
    torch.testing.assert_close(BinaryKLDivergence(tau=3)(student, teacher), KLDivergence(tau=3)(*pair))


def test_sees_what_a_softmax_does_not():
    # all logits are higher by 5: the same softmax, other sigmoids
    student = torch.randn(4, 10)
    assert KLDivergence()(student, student + 5).item() == pytest.approx(0, abs=1e-6)
    assert BinaryKLDivergence()(student, student + 5).item() > 1


@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('reduction', REDUCTIONS)
@pytest.mark.parametrize('tau', [1, 4.0])
def test_gradient_of_both(shape, reduction, tau):
    student, teacher = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(2))
    loss = BinaryKLDivergence(tau, reduction, teacher_detach=False)
    assert torch.autograd.gradcheck(loss, (student, teacher))


@pytest.mark.parametrize('tau', [1.0, 2.0])
def test_gradient_worked_out_by_hand(tau):
    # dL/dz = tau (q_S - q_T), with q_S = 1/2 and q_T = 3/4 and 1/4
    student = torch.zeros(1, 2, requires_grad=True)
    teacher = tau * math.log(3) * torch.tensor([[1.0, -1.0]])
    BinaryKLDivergence(tau)(student, teacher).backward()
    assert torch.allclose(student.grad, tau * torch.tensor([[-0.25, 0.25]]))


@pytest.mark.parametrize('teacher_detach', [True, False])
def test_teacher_detach(teacher_detach):
    student, teacher = (torch.randn(2, 4, requires_grad=True) for _ in range(2))
    BinaryKLDivergence(teacher_detach=teacher_detach)(student, teacher).backward()
    assert student.grad is not None
    assert (teacher.grad is None) == teacher_detach


@pytest.mark.parametrize('student', [0.0, 1e4, -1e4, 1e30, math.inf, -math.inf])
@pytest.mark.parametrize('teacher', [0.0, 1e4, -1e4, 1e30, math.inf, -math.inf])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_far_away_logits_stay_finite(student, teacher, dtype):
    pair = [torch.tensor([[value, 1.0]]).to(dtype).requires_grad_() for value in (student, teacher)]
    loss = BinaryKLDivergence(teacher_detach=False)(*pair)
    loss.backward()
    assert loss.isfinite()
    assert loss >= 0
    assert pair[0].grad.isfinite().all()
    if dtype in (torch.float32, torch.float64):
        assert pair[1].grad.isfinite().all()


def test_far_away_logits_worked_out_by_hand():
    # the student is sure of no by e^-10000, the teacher of yes: the logarithm is the loss, its gradient is 1
    student = torch.tensor([[-1e4]], requires_grad=True)
    loss = BinaryKLDivergence()(student, torch.tensor([[1e4]]))
    loss.backward()
    assert loss.item() == pytest.approx(1e4)
    assert student.grad.item() == pytest.approx(-1)


@pytest.mark.parametrize('side', [math.inf, -math.inf])
def test_what_both_rule_out_adds_nothing(side):
    both = torch.tensor([[side, 0.0]])
    assert BinaryKLDivergence()(both, both).item() == 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('reduction', REDUCTIONS)
def test_half_precision_is_computed_in_float32(dtype, reduction):
    loss = BinaryKLDivergence(2, reduction, loss_weight=1e3)
    student = (torch.randn(8, 100) * 10).to(dtype).requires_grad_()
    teacher = (torch.randn(8, 100) * 10).to(dtype)
    value = loss(student, teacher)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(student.float(), teacher.float()))
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(value, loss(student, teacher))
    value.sum().backward()
    assert student.grad.dtype == dtype


@pytest.mark.parametrize('reduction', REDUCTIONS)
def test_an_empty_batch_gives_a_zero_with_a_graph(reduction):
    student = torch.zeros(0, 10, requires_grad=True)
    loss = BinaryKLDivergence(reduction=reduction)(student, torch.zeros(0, 10))
    loss.backward()
    assert loss.item() == 0
    assert student.grad.shape == student.shape


@pytest.mark.parametrize(('reduction', 'expected'), [('batchmean', 3.0), ('sum', 3.0), ('mean', 0.3)])
def test_effective_weight(reduction, expected):
    loss = BinaryKLDivergence(reduction=reduction, loss_weight=3.0)
    assert loss.effective_weight(torch.zeros(4, 10)) == pytest.approx(expected)


@pytest.mark.parametrize('tau', [0, -1, float('nan')])
def test_a_bad_temperature_is_refused(tau):
    with pytest.raises(UserError, match=r'tau: expected a finite number above 0, got .*; usual values'):
        BinaryKLDivergence(tau=tau)


def test_an_unknown_reduction_is_refused():
    with pytest.raises(UserError, match=r"reduction: expected one of 'batchmean', 'mean', 'sum', 'none', got 'avg'"):
        BinaryKLDivergence(reduction='avg')


def test_is_registered():
    assert MODELS.build(dict(type='BinaryKLDivergence', tau=2)).tau == 2
