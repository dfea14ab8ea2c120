import pytest
import torch

from kd_plugins.build import build_component
from kd_plugins.connectors import MapToTokensConnector, TokensToMapConnector
from kd_plugins.errors import UserError
from kd_plugins.registry import MODELS


def test_numbers_worked_out_by_hand():
    # a class token 9, then two rows of three
    tokens = torch.tensor([[[9.0], [1.0], [2.0], [3.0], [4.0], [5.0], [6.0]]])
    assert TokensToMapConnector((2, 3), extra_tokens=1)(tokens).tolist() == [[[[1, 2, 3], [4, 5, 6]]]]


@pytest.mark.parametrize('extra_tokens', [0, 1, 2, 5])
def test_equals_a_slow_loop(extra_tokens):
    tokens = torch.randn(2, extra_tokens + 12, 5)
    output = TokensToMapConnector((4, 3), extra_tokens)(tokens)
    assert output.shape == (2, 5, 4, 3)
    for y in range(4):
        for x in range(3):
            assert torch.equal(output[:, :, y, x], tokens[:, extra_tokens + 3 * y + x])


def test_it_undoes_map_to_tokens():
    feature = torch.randn(2, 5, 4, 3)
    assert torch.equal(TokensToMapConnector((4, 3))(MapToTokensConnector()(feature)), feature)


def test_gradients_reach_all_but_the_extra_tokens():
    tokens = torch.randn(2, 13, 5, requires_grad=True)
    TokensToMapConnector((4, 3), extra_tokens=1)(tokens).sum().backward()
    assert torch.equal(tokens.grad[:, 0], torch.zeros(2, 5))
    assert torch.equal(tokens.grad[:, 1:], torch.ones(2, 12, 5))


def test_it_has_no_weights_and_takes_a_list_as_a_config_has_it():
    connector = build_component(MODELS, dict(type='TokensToMapConnector', size=[4, 3]), 'here')
    assert not connector.state_dict()
    assert repr(connector) == 'TokensToMapConnector(size=(4, 3), extra_tokens=0)'
    connector.init_weights()


@pytest.mark.parametrize('shape', [(2, 196, 8), (2, 198, 8), (2, 197), (2, 8, 14, 14)])
def test_wrong_length_and_rank(shape):
    with pytest.raises(UserError) as caught:
        TokensToMapConnector((14, 14), extra_tokens=1)(torch.rand(shape))
    assert f'expected tokens (N, 197, C), 1 extra and 14 x 14, got {shape}' in str(caught.value)


@pytest.mark.parametrize('size', [14, (14,), (0, 14), (14.0, 14)])
def test_bad_size(size):
    with pytest.raises(UserError, match='size: expected a height and a width'):
        TokensToMapConnector(size)


@pytest.mark.parametrize('extra_tokens', [-1, 1.0, None])
def test_bad_extra_tokens(extra_tokens):
    with pytest.raises(UserError, match='extra_tokens: expected a whole number from 0 on'):
        TokensToMapConnector((14, 14), extra_tokens)
