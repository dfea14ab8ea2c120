"""RegNetY against torchvision's, and under timm's names."""

import pytest
import torch
from torch import nn
from torchvision.models.regnet import BlockParams, RegNet

from kd_plugins.compat.timm_names import REGNETS_OF_TIMM
from kd_plugins.errors import UserError
from kd_plugins.models import RegNetY

SMALL = dict(depths=(1, 2), widths=(16, 32), group_width=8)


def rename(name):
    """A weight of torchvision's RegNet under timm's name."""
    if name.startswith('stem.'):
        return name.replace('stem.0', 'stem.conv').replace('stem.1', 'stem.bn')
    _, stage, block, *rest = name.split('.')
    head = f's{stage[5:]}.b{int(block.rpartition("-")[2]) + 1}'
    tail = '.'.join(rest)
    for theirs, timm in (
        ('proj.0', 'downsample.conv'),
        ('proj.1', 'downsample.bn'),
        ('f.a.0', 'conv1.conv'),
        ('f.a.1', 'conv1.bn'),
        ('f.b.0', 'conv2.conv'),
        ('f.b.1', 'conv2.bn'),
        ('f.se', 'se'),
        ('f.c.0', 'conv3.conv'),
        ('f.c.1', 'conv3.bn'),
    ):
        if tail.startswith(theirs):
            return f'{head}.{timm}{tail.removeprefix(theirs)}'
    raise AssertionError(name)


@pytest.mark.parametrize('training', [True, False])
def test_computes_what_torchvision_computes(training):
    params = BlockParams([1, 2], [16, 32], [8, 8], [1.0, 1.0], [2, 2], se_ratio=0.25)
    theirs = RegNet(params, norm_layer=nn.BatchNorm2d).double().train(training)
    ours = RegNetY(**SMALL).double()
    ours.train(training)
    state = {rename(name): value for name, value in theirs.state_dict().items() if not name.startswith('fc.')}
    ours.load_state_dict(state)
    images = torch.rand(2, 3, 32, 32, dtype=torch.double)
    (feature,) = ours(images)
    torch.testing.assert_close(feature, theirs.trunk_output(theirs.stem(images)))


def test_deits_teacher_has_the_size_of_the_paper():
    arguments, weights = REGNETS_OF_TIMM['regnety_160']
    with torch.device('meta'):
        backbone = RegNetY(**arguments)
    # 83.59 million parameters, 3025 for each of 1000 classes among them
    assert sum(weight.numel() for weight in backbone.parameters()) == 83_590_140 - 3_025_000
    assert {'stem.conv.weight', 's1.b1.downsample.bn.bias', 's3.b11.se.fc2.weight', 's4.b1.conv3.bn.weight'} <= set(
        backbone.state_dict()
    )
    assert weights.startswith('https://')


@pytest.mark.parametrize(
    ('changes', 'where', 'said'),
    [
        (dict(widths=(16, 30)), 'widths', '30'),
        (dict(depths=(1,)), 'depths', '(1,)'),
        (dict(depths=(1, 0)), 'depths', '(1, 0)'),
        (dict(depths=(), widths=()), 'depths', '()'),
        (dict(group_width=0), 'depths', 'positive'),
        (dict(widths=(4, 8)), 'widths', '8, for instance'),
    ],
)
def test_bad_arguments(changes, where, said):
    with pytest.raises(UserError) as error:
        RegNetY(**{**SMALL, **changes})
    assert error.value.faults[0].where == where
    assert said in str(error.value)
