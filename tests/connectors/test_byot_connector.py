import pytest
import torch
import torch.nn.functional as F

from kd_plugins.connectors import BYOTConnector
from kd_plugins.errors import UserError


def normalised(feature):
    mean, variance = feature.mean((0, 2, 3), True), feature.var((0, 2, 3), False, keepdim=True)
    return (feature - mean) / (variance + 1e-5).sqrt()


def separable(state, name, feature, stride):
    """ReLU, one filter a channel, a mix of the channels, BatchNorm; twice."""
    for half, step in (('conv1', stride), ('conv2', 1)):
        depthwise, pointwise = state[f'{name}.{half}.1.weight'], state[f'{name}.{half}.2.weight']
        feature = F.conv2d(
            feature.relu(), depthwise, stride=step, padding=depthwise.shape[2] // 2, groups=feature.shape[1]
        )
        feature = normalised(F.conv2d(feature, pointwise))
    return feature


def slow(state, feature, stride, steps):
    attention = normalised(separable(state, 'attention.0', feature, stride)).relu()
    attention = F.interpolate(attention, feature.shape[2:], mode='bilinear').sigmoid()
    feature = feature * attention
    for step in range(steps):
        feature = separable(state, f'scala.{step}', feature, stride)
    feature = feature.mean((2, 3))
    return feature, feature @ state['fc.weight'].T + state['fc.bias']


@pytest.mark.parametrize(
    ('options', 'size', 'steps'),
    [
        (dict(in_channel=4, out_channel=16, expansion=1, stride=2), (16, 16), 2),
        (dict(in_channel=4, out_channel=8, expansion=1, stride=2, kernel_size=5), (8, 8), 1),
        (dict(in_channel=2, out_channel=2, expansion=2, stride=2), (4, 4), 0),
        # mmrazor can run none of these
        (dict(in_channel=4, out_channel=8, expansion=1, stride=1), (4, 4), 1),
        (dict(in_channel=4, out_channel=16, expansion=1, stride=2, pool_size=(2, 3)), (7, 9), 2),
    ],
    ids=str,
)
def test_equals_the_slow_way(options, size, steps):
    connector = BYOTConnector(num_classes=5, **options).double()
    feature = torch.randn(3, 4, *size).double()
    outputs = connector(feature)
    assert outputs[0].shape == (3, options['out_channel'] * options['expansion'])
    assert outputs[1].shape == (3, 5)
    for output, expected in zip(outputs, slow(connector.state_dict(), feature, options['stride'], steps), strict=True):
        assert torch.allclose(output, expected)


def test_its_stages_in_resnet18_for_cifar():
    # MMRazor's config: stages of 32, 16 and 8 positions, all brought to 512 channels at 4 x 4
    for channels, size in ((64, 32), (128, 16), (256, 8)):
        connector = BYOTConnector(channels, 512, num_classes=100, expansion=1, stride=2)
        feature, logits = connector(torch.randn(2, channels, size, size))
        assert (feature.shape, logits.shape) == ((2, 512), (2, 100))


def test_gradient_reaches_the_feature_and_all_weights():
    connector = BYOTConnector(4, 8, num_classes=3, expansion=1, stride=2)
    feature = torch.randn(2, 4, 8, 8, requires_grad=True)
    connector(feature)[1].square().sum().backward()
    assert feature.grad is not None
    assert all(parameter.grad is not None for parameter in connector.parameters())


@pytest.mark.parametrize('size', [(16, 16), (6, 6), (8, 32)])
def test_a_map_that_is_not_pooled_to_one_position(size):
    connector = BYOTConnector(4, 8, num_classes=3, expansion=1, stride=2)
    with pytest.raises(UserError) as caught:
        connector(torch.rand(2, 4, *size))
    left = (size[0] // 2, size[1] // 2)
    assert f'expected a map of which one window of 4 x 4 positions is left, got {left[0]} x {left[1]}' in str(
        caught.value
    )
    assert f'write pool_size={left}' in str(caught.value)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(out_channel=12), 'out_channel: expected in_channel, 4, times a power of two, got 12'),
        (dict(out_channel=10), 'out_channel: expected in_channel, 4, times a power of two, got 10'),
        (dict(out_channel=2), 'out_channel: expected'),
        (dict(out_channel=0), 'out_channel: expected'),
        (dict(out_channel=-8), 'out_channel: expected'),
        (dict(in_channel=0), 'in_channel: expected a finite number above 0'),
        (dict(kernel_size=4), 'kernel_size: expected one of 3, 5, got 4'),
        (dict(stride=3), 'stride: expected one of 1, 2, got 3'),
        (dict(pool_size=0), 'pool_size: expected one or two whole numbers above 0, got 0'),
        (dict(pool_size=(4, 4, 4)), 'pool_size: expected'),
    ],
    ids=str,
)
def test_bad_arguments(changes, message):
    with pytest.raises(UserError) as caught:
        BYOTConnector(**{**dict(in_channel=4, out_channel=8, num_classes=3), **changes})
    assert message in str(caught.value)
