"""PlainCNN: shapes, layers, returned stages, messages for bad arguments."""

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from kd_plugins.errors import UserError
from kd_plugins.models import PlainCNN

VGG = ((64, 64), (128, 128), (256,))


@pytest.mark.parametrize(
    ('out_indices', 'shapes'),
    [
        ((-1,), [(2, 256, 4, 4)]),
        ((0, 2), [(2, 64, 16, 16), (2, 256, 4, 4)]),
        ((2, 1), [(2, 128, 8, 8), (2, 256, 4, 4)]),
        ((-1, 2), [(2, 256, 4, 4)]),
    ],
)
def test_returns_the_asked_stages_in_rising_order(out_indices, shapes):
    features = PlainCNN(VGG, out_indices=out_indices)(torch.rand(2, 3, 16, 16))
    assert isinstance(features, tuple)
    assert [tuple(feature.shape) for feature in features] == shapes


def test_layers_are_conv_norm_activation():
    backbone = PlainCNN(((4,), (6, 8)), in_channels=1)
    convs = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    assert [(conv.in_channels, conv.out_channels) for conv in convs] == [(1, 4), (4, 6), (6, 8)]
    assert all(conv.kernel_size == (3, 3) and conv.bias is None for conv in convs)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in backbone.modules()) == 3
    assert isinstance(backbone.get_submodule('stages.1.0').activate, nn.ReLU)


def test_equals_the_same_layers_written_out():
    torch.manual_seed(0)
    backbone = PlainCNN(((4,), (6,)), norm_cfg=None)
    first, second = backbone.stages[0][0].conv, backbone.stages[1][0].conv
    images = torch.randn(2, 3, 8, 8)
    expected = second(nn.functional.max_pool2d(first(images).relu(), 2)).relu()
    torch.testing.assert_close(backbone(images), (expected,))


def test_pools_after_the_last_stage_where_asked():
    torch.manual_seed(0)
    plain = PlainCNN(((4,), (6,)), out_indices=(0, 1))
    pooling = PlainCNN(((4,), (6,)), out_indices=(0, 1), pool_last=True)
    pooling.load_state_dict(plain.state_dict())
    images = torch.rand(2, 3, 8, 8)
    first, last = plain(images)
    torch.testing.assert_close(pooling(images), (first, nn.functional.max_pool2d(last, 2)))


def test_with_a_stacked_head_is_the_vgg_like_student_of_the_cached_pair():
    """Two blocks of two 3x3 convolutions to 64 and 128 channels, pooled, then 128 -> 32 -> 10, all with biases."""
    model = MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(type='kd_plugins.PlainCNN', stages=((64, 64), (128, 128)), norm_cfg=None, pool_last=True),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='StackedLinearClsHead', num_classes=10, in_channels=128, mid_channels=[32], act_cfg=None),
            _scope_='mmpretrain',
        )
    )
    convolutions = sum(9 * fan_in * width + width for fan_in, width in ((3, 64), (64, 64), (64, 128), (128, 128)))
    expected = convolutions + (128 * 32 + 32) + (32 * 10 + 10)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected == 264_618
    images = torch.randn(2, 3, 16, 16)
    x = images
    for stage in model.backbone.stages:
        for layer in stage:
            x = layer.conv(x).relu()
        x = nn.functional.max_pool2d(x, 2)
    first, second = model.head.layers
    torch.testing.assert_close(model(images), second.fc(first.fc(x.mean((2, 3)))))


def test_norm_and_activation_can_be_chosen():
    backbone = PlainCNN(((4,),), norm_cfg=dict(type='GN', num_groups=2), act_cfg=None)
    kinds = {type(module) for module in backbone.modules()}
    assert nn.GroupNorm in kinds
    assert not kinds & {nn.BatchNorm2d, nn.ReLU}


def test_is_a_backbone_of_mmpretrains_classifier():
    model = MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(type='kd_plugins.PlainCNN', stages=((4,), (8,))),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=10, in_channels=8),
            _scope_='mmpretrain',
        )
    )
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize('stages', [(), ((),), (64, 64), ((64, 0),), ((64.0,),), 'ab'])
def test_bad_stages_are_refused(stages):
    with pytest.raises(UserError, match='stages: expected a tuple of tuples of positive channel counts'):
        PlainCNN(stages)


@pytest.mark.parametrize('out_indices', [(), (3,), (-4,), 2, ('0',)])
def test_bad_out_indices_are_refused(out_indices):
    with pytest.raises(UserError, match='out_indices: expected a tuple of stage indices from -3 to 2'):
        PlainCNN(VGG, out_indices=out_indices)
