import math

import pytest
import torch

from kd_plugins.losses import CrossEntropyLoss


def test_number_worked_out_by_hand():
    # the teacher chooses class 1, to which softmax(ln 3, 0) gives 1/4
    loss = CrossEntropyLoss()(torch.tensor([[math.log(3), 0.0]]), torch.tensor([[-2.0, 5.0]]))
    assert loss.item() == pytest.approx(math.log(4), rel=1e-6)


def test_the_batch_is_averaged():
    # the second sample's chosen class 0 has 3/4
    student = torch.tensor([[math.log(3), 0.0], [math.log(3), 0.0]])
    loss = CrossEntropyLoss(loss_weight=2)(student, torch.tensor([[-2.0, 5.0], [1.0, 0.0]]))
    assert loss.item() == pytest.approx(2 * (math.log(4) + math.log(4 / 3)) / 2, rel=1e-6)


def test_each_pixel_is_a_sample():
    student, teacher = torch.randn(2, 2, 5, 3, 4)
    rows = [side.permute(0, 2, 3, 1).reshape(-1, 5) for side in (student, teacher)]
    assert torch.allclose(CrossEntropyLoss()(student, teacher), CrossEntropyLoss()(*rows))


def test_gradient_worked_out_by_hand():
    # p_S minus the one-hot vector of the chosen class, over one sample; none into the teacher
    student = torch.tensor([[math.log(3), 0.0]], requires_grad=True)
    teacher = torch.tensor([[-2.0, 5.0]], requires_grad=True)
    CrossEntropyLoss()(student, teacher).backward()
    assert torch.allclose(student.grad, torch.tensor([[0.75, -0.75]]))
    assert teacher.grad is None
