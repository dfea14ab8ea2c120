"""LeNet5: the size of the paper's network by arithmetic, shapes, messages."""

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from kd_plugins.errors import UserError
from kd_plugins.models import LeNet5


@pytest.mark.parametrize(('channels', 'parameters'), [(3, 62_006), (1, 61_706)])
def test_has_the_parameters_of_lenet5(channels, parameters):
    convolutions = (channels * 25 + 1) * 6 + (6 * 25 + 1) * 16 + (16 * 25 + 1) * 120
    assert convolutions + (120 + 1) * 84 + (84 + 1) * 10 == parameters
    model = MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(type='kd_plugins.LeNet5', in_channels=channels),
            head=dict(type='LinearClsHead', num_classes=10, in_channels=84),
            _scope_='mmpretrain',
        )
    )
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert model(torch.rand(2, channels, 32, 32)).shape == (2, 10)


def test_equals_the_layers_written_out():
    torch.manual_seed(0)
    backbone = LeNet5()
    x = images = torch.randn(2, 3, 32, 32)
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    for convolution in convolutions[:2]:
        x = nn.functional.max_pool2d(convolution(x).relu(), 2)
    hidden = convolutions[2](x).relu().flatten(1)  # (2, 120, 1, 1) -> (2, 120)
    (linear,) = (module for module in backbone.modules() if isinstance(module, nn.Linear))
    torch.testing.assert_close(backbone(images), (linear(hidden).relu(),))
    assert backbone.stages[0](images).shape == (2, 6, 14, 14)
    assert x.shape == (2, 16, 5, 5)


@pytest.mark.parametrize('in_channels', [0, 1.0, True, None])
def test_bad_channels_are_refused(in_channels):
    with pytest.raises(UserError, match='in_channels: expected a whole number >= 1'):
        LeNet5(in_channels)


@pytest.mark.parametrize(('size', 'left', 'top'), [((16, 16), 8, 8), ((28, 32), 0, 2), ((31, 29), 1, 0)])
def test_smaller_images_get_a_margin(size, left, top):
    torch.manual_seed(0)
    backbone = LeNet5()
    images, padded = torch.randn(2, 3, *size), torch.zeros(2, 3, 32, 32)
    padded[:, :, top : top + size[0], left : left + size[1]] = images
    torch.testing.assert_close(backbone(images), backbone(padded))


@pytest.mark.parametrize('size', [(33, 32), (32, 40)])
def test_larger_images_are_refused(size):
    with pytest.raises(UserError, match='expected images of at most 32x32 pixels'):
        LeNet5()(torch.rand(1, 3, *size))
