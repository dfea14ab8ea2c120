import math

import pytest
import torch
import torch.nn.functional as F

from kd_plugins.errors import UserError
from kd_plugins.losses import WSLD


def softmax(logits, tau=1):
    weights = [math.exp(z / tau) for z in logits]
    return [weight / sum(weights) for weight in weights]


def slow_wsld(student, teacher, labels, tau):
    """The formula of the docstring, one sample at a time."""
    total = 0
    for s_row, t_row, label in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        ratio = math.log(softmax(s_row)[label]) / math.log(softmax(t_row)[label])
        soft = zip(softmax(s_row, tau), softmax(t_row, tau), strict=True)
        total -= (1 - math.exp(-ratio)) * sum(t * math.log(s) for s, t in soft)
    return tau**2 * total / len(student)


@pytest.mark.parametrize(('options', 'factor'), [(dict(), 1), (dict(loss_weight=2.5), 2.5)])
def test_number_worked_out_by_hand(options, factor):
    # the true class has 1/4 at the student and 1/2 at the teacher: cross entropies 2 ln 2 and ln 2, weight 1 - e^-2;
    # the soft labels are (1/2, 1/2) for (1/4, 3/4)
    student, teacher = torch.tensor([[0.0, math.log(3)]]), torch.zeros(1, 2)
    expected = (1 - math.exp(-2)) * (0.5 * math.log(4) + 0.5 * math.log(4 / 3))
    loss = WSLD(num_classes=2, **options)(student, teacher, torch.tensor([0]))
    assert loss.item() == pytest.approx(factor * expected, rel=1e-5)


@pytest.mark.parametrize('tau', [0.5, 1, 4.0])
def test_equals_a_slow_loop(tau):
    student, teacher = torch.randn(2, 3, 5, dtype=torch.float64) * 2
    labels = torch.tensor([4, 0, 2])
    loss = WSLD(tau, num_classes=5)(student, teacher, labels)
    assert loss.item() == pytest.approx(slow_wsld(student, teacher, labels, tau), rel=1e-5)


def test_gradient_flows_around_the_weights_of_the_samples():
    student, teacher = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    labels = torch.tensor([0, 3, 1])
    WSLD(2.0, num_classes=4)(student, teacher, labels).backward()
    # tau² over 3 samples, and 1 / tau from the logits: 2 / 3 w times the gradient of the cross entropy
    hard = [F.cross_entropy(side.detach(), labels, reduction='none') for side in (student, teacher)]
    weight = 1 - torch.exp(-hard[0] / hard[1])
    p_s, p_t = ((side / 2).softmax(1).detach() for side in (student, teacher))
    assert torch.allclose(student.grad, 2 / 3 * weight[:, None] * (p_s - p_t), rtol=1e-5)
    inner = -p_s.log() + (p_t * p_s.log()).sum(1, keepdim=True)
    assert torch.allclose(teacher.grad, 2 / 3 * weight[:, None] * p_t * inner, rtol=1e-5)


def test_what_the_student_knows_has_no_weight():
    student = torch.tensor([[1e4, 0.0]])
    assert WSLD(num_classes=2)(student, torch.zeros(1, 2), torch.tensor([0])).item() == 0


def test_what_the_teacher_is_sure_of_has_the_whole_weight():
    # weight 1; the soft labels (1, 0) for (1/2, 1/2)
    loss = WSLD(num_classes=2)(torch.zeros(1, 2), torch.tensor([[1e4, 0.0]]), torch.tensor([0]))
    assert loss.item() == pytest.approx(math.log(2), rel=1e-6)


def test_another_number_of_classes_is_refused():
    with pytest.raises(UserError, match='num_classes: expected 10, as in the logits, got 1000; write num_classes=10'):
        WSLD()(torch.zeros(2, 10), torch.zeros(2, 10), torch.tensor([0, 1]))


def test_no_classes_are_refused():
    with pytest.raises(UserError, match='num_classes: expected a finite number above 0, got 0'):
        WSLD(num_classes=0)
