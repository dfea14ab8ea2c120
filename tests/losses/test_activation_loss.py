import pytest
import torch

from kd_plugins.errors import UserError
from kd_plugins.losses import ActivationLoss


@pytest.mark.parametrize(
    ('norm_type', 'expected'),
    [
        # (3 + 4 + 12 + 0) / 4
        ('abs', -4.75),
        # √(9 + 16 + 144), over the whole batch
        ('norm', -13.0),
    ],
)
@pytest.mark.parametrize('shape', [(2, 2), (2, 2, 1, 1), (1, 4), (1, 1, 2, 2)], ids=str)
def test_numbers_worked_out_by_hand(norm_type, expected, shape):
    feature = torch.tensor([3.0, -4.0, 12.0, 0.0]).reshape(shape)
    assert ActivationLoss(norm_type=norm_type)(feature).item() == pytest.approx(expected)
    assert ActivationLoss(0.01, norm_type)(feature).item() == pytest.approx(0.01 * expected)


@pytest.mark.parametrize(('norm_type', 'expected'), [('abs', [[-0.5, 0.5]]), ('norm', [[-0.6, 0.8]])])
def test_gradient_worked_out_by_hand(norm_type, expected):
    feature = torch.tensor([[3.0, -4.0]], requires_grad=True)
    ActivationLoss(norm_type=norm_type)(feature).backward()
    assert torch.allclose(feature.grad, torch.tensor(expected))


@pytest.mark.parametrize('norm_type', ['abs', 'norm'])
def test_a_feature_of_zeros_has_no_gradient(norm_type):
    feature = torch.zeros(2, 3, 1, 1, requires_grad=True)
    ActivationLoss(norm_type=norm_type)(feature).backward()
    assert feature.grad.abs().max() == 0


def test_an_unknown_norm_is_refused():
    with pytest.raises(UserError, match="norm_type: expected one of 'abs', 'norm', got 'l2'"):
        ActivationLoss(norm_type='l2')
