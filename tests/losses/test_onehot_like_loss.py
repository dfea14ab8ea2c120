import math

import pytest
import torch

from kd_plugins.losses import OnehotLikeLoss


def test_number_worked_out_by_hand():
    # the largest of (3/4, 1/4), and of (1/2, 1/2)
    loss = OnehotLikeLoss(loss_weight=2)(torch.tensor([[math.log(3), 0.0], [0.0, 0.0]]))
    assert loss.item() == pytest.approx(2 * (math.log(4 / 3) + math.log(2)) / 2, rel=1e-6)


def test_one_hot_predictions_cost_nothing():
    assert OnehotLikeLoss()(torch.tensor([[1e4, 0.0], [0.0, 1e4]])).item() == 0


def test_gradient_worked_out_by_hand():
    # p minus the one-hot vector of the chosen class, over one sample
    logits = torch.tensor([[math.log(3), 0.0]], requires_grad=True)
    OnehotLikeLoss()(logits).backward()
    assert torch.allclose(logits.grad, torch.tensor([[-0.25, 0.25]]))
