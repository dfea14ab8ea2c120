import pytest
import torch

from kd_plugins.losses import DISTLoss


def pearson(student, teacher):
    s_mean, t_mean = sum(student) / len(student), sum(teacher) / len(teacher)
    products = sum((s - s_mean) * (t - t_mean) for s, t in zip(student, teacher, strict=True))
    s_length = sum((s - s_mean) ** 2 for s in student) ** 0.5
    t_length = sum((t - t_mean) ** 2 for t in teacher) ** 0.5
    return products / (s_length * t_length + 1e-8)


def slow_dist(student, teacher, inter, intra, tau):
    """The formula of the docstring, one row and one column at a time."""
    student, teacher = ((side / tau).softmax(1) for side in (student, teacher))
    rows = [1 - pearson(s, t) for s, t in zip(student.tolist(), teacher.tolist(), strict=True)]
    columns = [1 - pearson(s, t) for s, t in zip(student.T.tolist(), teacher.T.tolist(), strict=True)]
    return tau**2 * (inter * sum(rows) / len(rows) + intra * sum(columns) / len(columns))


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        # the student says the opposite of the teacher: each correlation is -1, so 1 - ρ = 2
        (dict(), 4.0),
        (dict(inter_loss_weight=3), 8.0),
        (dict(intra_loss_weight=0), 2.0),
        # correlations of two numbers are ±1 at any temperature
        (dict(tau=2), 16.0),
        (dict(loss_weight=0.5), 2.0),
    ],
)
def test_numbers_worked_out_by_hand(options, expected):
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert DISTLoss(**options)(-logits, logits).item() == pytest.approx(expected, rel=1e-5)


def test_a_scaled_copy_of_the_probabilities_is_as_good():
    # (0.5, 0.3, 0.2) around 1/3 is the half of (2/3, 0.267, 0.067) around 1/3: the correlation is 1
    student = torch.tensor([[0.5, 0.3, 0.2]])
    teacher = (student - 1 / 3) * 2 + 1 / 3
    loss = DISTLoss(intra_loss_weight=0)(student.log(), teacher.log())
    assert loss.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize('tau', [0.5, 1, 4.0])
@pytest.mark.parametrize(('inter', 'intra'), [(1, 1), (2, 0.5)])
def test_equals_a_slow_loop(inter, intra, tau):
    student, teacher = torch.randn(2, 4, 5, dtype=torch.float64) * 2
    loss = DISTLoss(inter, intra, tau)(student, teacher)
    assert loss.item() == pytest.approx(slow_dist(student, teacher, inter, intra, tau), rel=1e-10)


@pytest.mark.parametrize('shape', [(3, 4), (3, 4, 2, 2)], ids=str)
def test_gradient_of_both(shape):
    pair = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(DISTLoss(2.0, 0.5, 2.0, teacher_detach=False), pair)


def test_the_teacher_gets_no_gradient_by_default():
    student, teacher = (torch.randn(3, 4, requires_grad=True) for _ in range(2))
    DISTLoss()(student, teacher).backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_one_sample_has_no_relation_to_others():
    # intra: each class has one probability, which correlates with nothing, 1 - 0
    logits = torch.randn(1, 5)
    assert DISTLoss()(logits, logits).item() == pytest.approx(1, rel=1e-5)


def test_the_same_probability_everywhere_has_no_relation():
    student = torch.zeros(3, 5, requires_grad=True)
    loss = DISTLoss()(student, torch.randn(3, 5))
    loss.backward()
    assert loss.item() == pytest.approx(2, rel=1e-5)
    assert student.grad.abs().max() == 0


def test_each_pixel_is_compared_on_its_own():
    student, teacher = torch.randn(2, 3, 5, 2, 2)
    pixels = [DISTLoss()(student[..., y, x], teacher[..., y, x]) for y in range(2) for x in range(2)]
    assert torch.allclose(DISTLoss()(student, teacher), torch.stack(pixels).mean())
