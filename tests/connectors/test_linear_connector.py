import pytest
import torch

from kd_plugins.build import build_component
from kd_plugins.connectors import LinearConnector
from kd_plugins.errors import UserError
from kd_plugins.registry import MODELS


def test_numbers_worked_out_by_hand():
    connector = LinearConnector(2, 1)
    with torch.no_grad():
        connector.linear.weight.copy_(torch.tensor([[2.0, -3.0]]))
        connector.linear.bias.fill_(0.5)
    # 2 * 4 - 3 * 1 + 0.5 and 2 * 0 - 3 * 2 + 0.5
    assert connector(torch.tensor([[4.0, 1.0], [0.0, 2.0]])).tolist() == [[5.5], [-5.5]]


def test_tokens_are_converted_one_by_one():
    connector = LinearConnector(3, 5)
    tokens = torch.randn(2, 4, 3)
    slow = torch.stack([torch.stack([connector(token[None])[0] for token in sample]) for sample in tokens])
    assert torch.allclose(connector(tokens), slow, atol=1e-6)


def test_bias_may_be_left_out():
    assert LinearConnector(3, 5, bias=False).linear.bias is None
    assert LinearConnector(3, 5).linear.bias is not None


@pytest.mark.parametrize('shape', [(2, 3), (2, 4, 3)])
def test_gradients_reach_input_and_weights(shape):
    connector = LinearConnector(3, 5)
    feature = torch.randn(shape, requires_grad=True)
    connector(feature).square().sum().backward()
    for tensor in (feature, *connector.parameters()):
        assert tensor.grad.abs().sum() > 0


def test_init_cfg_is_obeyed():
    connector = LinearConnector(3, 5, init_cfg=dict(type='Constant', layer='Linear', val=0.25, bias=0.5))
    connector.init_weights()
    assert torch.equal(connector.linear.weight, torch.full((5, 3), 0.25))
    assert torch.equal(connector.linear.bias, torch.full((5,), 0.5))


def test_unknown_and_missing_arguments_are_named():
    with pytest.raises(UserError) as caught:
        build_component(MODELS, dict(type='LinearConnector', in_channels=4, out_channel=6), 'connectors.a')
    assert "did you mean 'in_channel'" in str(caught.value)
    assert 'add in_channel=…' in str(caught.value)


def test_wrong_number_of_channels_raises():
    with pytest.raises(RuntimeError, match='shapes'):
        LinearConnector(3, 5)(torch.rand(2, 4))


def test_autocast_and_half_features_meet():
    connector = LinearConnector(3, 5)
    with torch.autocast('cpu', torch.bfloat16):
        for feature in (torch.randn(2, 3), torch.randn(2, 3).bfloat16()):
            assert connector(feature).isfinite().all()
