import pytest
import torch

from kd_plugins.losses import MGDLoss


def test_number_worked_out_by_hand():
    # 3² + 1² of the first sample and 2² of the second, over two samples
    student = torch.tensor([[3.0, 4.0], [1.0, 1.0]]).reshape(2, 1, 1, 2)
    teacher = torch.tensor([[0.0, 5.0], [1.0, 3.0]]).reshape(2, 1, 1, 2)
    assert MGDLoss(alpha_mgd=0.5)(student, teacher).item() == 3.5


def test_the_default_weight():
    assert MGDLoss()(torch.zeros(1, 5, 10, 10), torch.ones(1, 5, 10, 10)).item() == pytest.approx(0.01)


def test_gradient_worked_out_by_hand():
    student = torch.tensor([[3.0, 4.0]]).reshape(1, 1, 1, 2).requires_grad_()
    MGDLoss(alpha_mgd=1)(student, torch.tensor([0.0, 5.0]).reshape(1, 1, 1, 2)).backward()
    assert student.grad.flatten().tolist() == [6.0, -2.0]  # 2 (s - t) / N
