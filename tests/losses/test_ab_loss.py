import pytest
import torch

from kd_plugins.losses import ABLoss


@pytest.mark.parametrize(
    ('student', 'teacher', 'margin', 'missing'),
    [
        (0.5, 1.0, 1.0, 0.5),  # fires as it should, but is not yet at the margin
        (1.0, 1.0, 1.0, 0.0),
        (9.0, 0.1, 1.0, 0.0),  # how strongly does not matter
        (-2.0, 1.0, 1.0, 3.0),
        (0.5, -1.0, 1.0, 1.5),
        (0.5, 0.0, 1.0, 1.5),  # zero is silence
        (-1.0, -0.1, 1.0, 0.0),
        (0.5, 1.0, 2.0, 1.5),
        (0.5, 1.0, 0.5, 0.0),
    ],
)
def test_numbers_worked_out_by_hand(student, teacher, margin, missing):
    loss = ABLoss(margin=margin)(torch.tensor([[student]]), torch.tensor([[teacher]]))
    assert loss.item() == pytest.approx(missing**2 * 3 / 1000, rel=1e-6)


def test_samples_are_averaged_and_neurons_added_up():
    # 0.5² + 3² and 0 + 1.5² over two samples
    student, teacher = torch.tensor([[0.5, -2.0], [1.0, 0.5]]), torch.tensor([[1.0, 1.0], [2.0, -1.0]])
    expected = (0.25 + 9 + 2.25) / 2 * 3 / 1000
    assert ABLoss(loss_weight=10)(student, teacher).item() == pytest.approx(10 * expected, rel=1e-6)


def test_gradient_worked_out_by_hand():
    student = torch.tensor([[0.5, 0.5, 2.0]], requires_grad=True)
    teacher = torch.tensor([[1.0, -1.0, 1.0]], requires_grad=True)
    ABLoss(loss_weight=1000 / 3)(student, teacher).backward()
    assert torch.allclose(student.grad, torch.tensor([[-1.0, 3.0, 0.0]]))  # -2 (1 - s) and 2 (1 + s)
    assert teacher.grad is None
