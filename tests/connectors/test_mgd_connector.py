import pytest
import torch
import torch.nn.functional as F

from kd_plugins.connectors import MGDConnector
from kd_plugins.errors import UserError


def see_through(connector):
    """Let the generation give back what it gets, so that the mask is seen."""
    connector.generation = torch.nn.Identity()
    return connector


@pytest.mark.parametrize('mask_on_channel', [True, False])
@pytest.mark.parametrize('ratio', [0, 0.15, 0.65, 1])
def test_so_many_are_hidden_and_the_rest_passes(mask_on_channel, ratio):
    feature = torch.rand(8, 32, 16, 16) + 1
    output = see_through(MGDConnector(32, 32, ratio, mask_on_channel))(feature)
    hidden = output == 0
    assert torch.equal(output[~hidden], feature[~hidden])
    # whole channels, or positions in all channels, and not the same ones in every sample
    assert torch.equal(hidden, (hidden[:, :, :1, :1] if mask_on_channel else hidden[:, :1]).expand_as(hidden))
    assert hidden.float().mean().item() == pytest.approx(ratio, abs=0.1)
    assert torch.equal(hidden[0], hidden[1]) == (ratio in (0, 1))


def test_the_mask_is_drawn_anew_in_eval_mode_too():
    connector, feature = see_through(MGDConnector(2, 2)).eval(), torch.rand(2, 2, 8, 8) + 1
    assert not torch.equal(connector(feature), connector(feature))


@pytest.mark.parametrize('channels', [3, 5])
def test_without_a_mask_it_equals_the_slow_way(channels):
    connector, feature = MGDConnector(3, channels, lambda_mgd=0), torch.randn(2, 3, 4, 6)
    state, expected = connector.state_dict(), feature
    assert ('align.weight' in state) == (channels != 3)
    if channels != 3:
        expected = F.conv2d(expected, state['align.weight'], state['align.bias'])
    expected = F.conv2d(expected, state['generation.0.weight'], state['generation.0.bias'], padding=1).relu()
    expected = F.conv2d(expected, state['generation.2.weight'], state['generation.2.bias'], padding=1)
    assert torch.allclose(connector(feature), expected, atol=1e-6)


def test_no_gradient_where_it_is_hidden():
    feature = (torch.rand(2, 4, 8, 8) + 1).requires_grad_()
    output = see_through(MGDConnector(4, 4))(feature)
    output.sum().backward()
    assert torch.equal(feature.grad, (output != 0).float())


def test_gradient_reaches_all_weights():
    connector = MGDConnector(4, 6)
    connector(torch.randn(2, 4, 5, 5)).sum().backward()
    assert all(parameter.grad is not None for parameter in connector.parameters())


@pytest.mark.parametrize('ratio', [-0.1, 1.1, float('nan'), True, '0.5', None])
def test_what_is_no_probability_is_refused(ratio):
    with pytest.raises(UserError, match='lambda_mgd: expected a probability, 0 to 1'):
        MGDConnector(4, 4, ratio)
