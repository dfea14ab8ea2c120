import pytest
import torch

from kd_plugins.connectors import MapToTokensConnector
from kd_plugins.errors import UserError
from kd_plugins.registry import MODELS


def test_numbers_worked_out_by_hand():
    # two channels of 2 x 2
    feature = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]])
    assert MapToTokensConnector()(feature).tolist() == [[[1, 5], [2, 6], [3, 7], [4, 8]]]


def test_equals_a_slow_loop():
    feature = torch.randn(2, 5, 4, 3)
    output = MapToTokensConnector()(feature)
    assert output.shape == (2, 12, 5)
    for y in range(4):
        for x in range(3):
            assert torch.equal(output[:, 3 * y + x], feature[:, :, y, x])


def test_gradients_flow():
    feature = torch.randn(2, 5, 4, 3, requires_grad=True)
    MapToTokensConnector()(feature).sum().backward()
    assert torch.equal(feature.grad, torch.ones_like(feature))


def test_it_has_no_weights():
    connector = MODELS.build(dict(type='MapToTokensConnector'))
    assert not connector.state_dict()
    connector.init_weights()


@pytest.mark.parametrize('shape', [(2, 3), (2, 3, 4), (2, 3, 4, 4, 4)])
def test_bad_rank(shape):
    with pytest.raises(UserError, match='feature: expected a map') as caught:
        MapToTokensConnector()(torch.rand(shape))
    assert str(shape) in str(caught.value)
