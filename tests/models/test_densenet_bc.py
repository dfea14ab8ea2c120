"""DenseNetBC: the paper's size by arithmetic, shapes, modes, messages for bad arguments."""

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from kd_plugins.errors import UserError
from kd_plugins.models import DenseNetBC


def parameters_of_the_paper(depth, growth, classes):
    """Count as the paper describes it: stem, blocks of bottlenecks, transitions that halve the channels, classifier."""
    channels = 2 * growth
    count = 3 * channels * 9
    for block in range(3):
        for _ in range((depth - 4) // 6):
            # norm, 1x1 to 4 growth, norm, 3x3 to growth
            count += 2 * channels + channels * 4 * growth + 2 * 4 * growth + 4 * growth * growth * 9
            channels += growth
        count += 2 * channels
        if block < 2:
            count += channels * (channels // 2)
            channels //= 2
    return count + channels * classes + classes


def classifier(**backbone):
    return MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(type='kd_plugins.DenseNetBC', **backbone),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=10, in_channels=342),
            _scope_='mmpretrain',
        )
    )


def test_has_the_parameters_of_the_paper():
    assert parameters_of_the_paper(100, 12, 10) == 769_162
    model = classifier()
    assert sum(parameter.numel() for parameter in model.parameters()) == 769_162
    # 100 layers with weights
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in model.modules()) == 100
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(('depth', 'growth'), [(40, 12), (10, 4)])
def test_other_depths_and_growths_count_as_the_paper_says(depth, growth):
    backbone = DenseNetBC(depth, growth)
    channels = backbone(torch.rand(1, 3, 8, 8))[0].shape[1]
    counted = sum(parameter.numel() for parameter in backbone.parameters())
    assert counted + 10 * channels + 10 == parameters_of_the_paper(depth, growth, 10)


@pytest.mark.parametrize(
    ('options', 'shapes'),
    [
        (dict(), [(2, 16, 8, 8)]),
        (dict(out_indices=(2, 0, -2)), [(2, 8, 16, 16), (2, 8, 8, 8), (2, 16, 8, 8)]),
        (dict(compression=1), [(2, 32, 8, 8)]),
    ],
)
def test_returned_maps(options, shapes):
    # the stem has 8 channels, a block adds 2 x 4, a transition but the last keeps half
    backbone = DenseNetBC(depth=16, growth_rate=4, **options)
    features = backbone(torch.rand(2, 3, 32, 32))
    assert isinstance(features, tuple)
    assert [tuple(feature.shape) for feature in features] == shapes


def test_the_last_map_is_normed_and_not_negative():
    (feature,) = DenseNetBC(depth=10)(torch.rand(2, 3, 8, 8))
    assert feature.min() == 0
    assert feature.max() > 0


def test_equals_the_formula_written_out():
    torch.manual_seed(0)
    backbone = DenseNetBC(depth=10, growth_rate=2)
    backbone.eval()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
    images = torch.rand(2, 3, 8, 8)
    x = backbone.stem(images)
    for stage, transition in zip(backbone.stages, backbone.transitions, strict=True):
        (layer,) = stage.block
        inner = layer.conv1(layer.norm1(x).relu())
        x = torch.cat([x, layer.conv2(layer.norm2(inner).relu())], 1)
        x = transition[0](x).relu()
        if stage is not backbone.stages[-1]:
            x = nn.functional.avg_pool2d(transition.conv(x), 2)
    torch.testing.assert_close(backbone(images), (x,))


def test_begins_with_hes_weights():
    torch.manual_seed(0)
    backbone = DenseNetBC(depth=10, growth_rate=16)
    backbone.init_weights()
    weight = backbone.stages[0].block[0].conv2.weight  # (16, 64, 3, 3)
    assert weight.std().item() == pytest.approx((2 / (16 * 9)) ** 0.5, rel=0.05)


@pytest.mark.parametrize(
    ('options', 'where'),
    [
        (dict(depth=99), 'depth'),
        (dict(depth=4), 'depth'),
        (dict(depth=40.0), 'depth'),
        (dict(depth=True), 'depth'),
        (dict(growth_rate=0), 'growth_rate'),
        (dict(growth_rate='12'), 'growth_rate'),
        (dict(compression=0), 'compression'),
        (dict(compression=1.5), 'compression'),
        (dict(drop_rate=1), 'drop_rate'),
        (dict(drop_rate=-0.1), 'drop_rate'),
        (dict(out_indices=()), 'out_indices'),
        (dict(out_indices=(3,)), 'out_indices'),
        (dict(out_indices=-1), 'out_indices'),
    ],
)
def test_bad_arguments_are_refused(options, where):
    with pytest.raises(UserError, match=f'^{where}: expected '):
        DenseNetBC(**options)
