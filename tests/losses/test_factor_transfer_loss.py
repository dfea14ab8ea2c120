import pytest
import torch

from kd_plugins.errors import UserError
from kd_plugins.losses import FTLoss


def test_number_worked_out_by_hand():
    # (3, 4) and (0, 5) scaled to length 1 are (0.6, 0.8) and (0, 1); (1, 1) and (2, 2) are the same:
    # (0.6 + 0.2 + 0 + 0) / 4
    loss = FTLoss(loss_weight=10)(torch.tensor([[3.0, 4.0], [1.0, 1.0]]), torch.tensor([[0.0, 5.0], [2.0, 2.0]]))
    assert loss.item() == pytest.approx(2, rel=1e-6)


def test_each_sample_is_scaled_as_a_whole():
    student, teacher = torch.randn(2, 3, 4, 2, 2)
    assert torch.allclose(FTLoss()(student, teacher), FTLoss()(student.flatten(1) * 5, teacher.flatten(1)))


def test_a_factor_of_zeros_stays_zero_without_gradient():
    student, teacher = torch.randn(2, 3, 4)
    student[1] = 0
    student.requires_grad_()
    FTLoss()(student, teacher).backward()
    assert student.grad[1].abs().max() == 0
    assert student.grad[0].abs().max() > 0


@pytest.mark.parametrize('shape', [(), (3,)], ids=str)
def test_what_is_no_factor_is_refused(shape):
    with pytest.raises(UserError, match=r's_feature: expected a factor .*; record what Paraphraser'):
        FTLoss()(torch.zeros(shape), torch.zeros(shape))
