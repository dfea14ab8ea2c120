import pytest
import torch
import torch.nn.functional as F

from kd_plugins.connectors import Translator


@pytest.mark.parametrize('use_bn', [True, False])
@pytest.mark.parametrize('shape', [(2, 6, 5, 7), (3, 6, 1, 1)])
def test_equals_the_slow_way(use_bn, shape):
    connector, feature = Translator(6, 4, use_bn).double(), torch.randn(shape).double()
    state, expected = connector.state_dict(), feature
    for place in (0, 3, 6):
        expected = F.conv2d(expected, state[f'encoder.{place}.weight'], state[f'encoder.{place}.bias'], padding=1)
        if use_bn:
            mean, variance = expected.mean((0, 2, 3), True), expected.var((0, 2, 3), False, keepdim=True)
            expected = (expected - mean) / (variance + 1e-5).sqrt()
        expected = torch.where(expected > 0, expected, expected * 0.1)
    assert torch.allclose(connector(feature), expected)


def test_gradient_reaches_the_feature_and_all_weights():
    connector, feature = Translator(4, 6), torch.randn(2, 4, 3, 3, requires_grad=True)
    connector(feature).square().sum().backward()
    assert feature.grad is not None
    assert all(parameter.grad is not None for parameter in connector.parameters())


def test_batch_norm_is_the_default():
    assert isinstance(Translator(4, 6).encoder[1], torch.nn.BatchNorm2d)
