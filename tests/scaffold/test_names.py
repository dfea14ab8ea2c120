"""A config of mmpretrain goes by several names, and a wrong one names the closest."""

import pytest

from kd_plugins.errors import UserError
from kd_plugins.scaffold.libraries import LIBRARIES
from kd_plugins.scaffold.names import config_names, find_config

MMPRETRAIN = LIBRARIES['mmpretrain']
RESNET = 'mmpretrain::resnet/resnet50_8xb32_in1k.py'


@pytest.mark.parametrize(
    'name',
    [
        'resnet50_8xb32_in1k',
        'resnet50_8xb32_in1k.py',
        'resnet/resnet50_8xb32_in1k',
        'resnet/resnet50_8xb32_in1k.py',
        'mmpretrain::resnet50_8xb32_in1k',
        RESNET,
    ],
)
def test_finds_by_each_form(name):
    assert find_config(name, '--teacher', MMPRETRAIN) == RESNET


def test_finds_names_with_dots():
    assert (
        find_config('regnetx-1.6gf_8xb128_in1k', '--teacher', MMPRETRAIN)
        == 'mmpretrain::regnet/regnetx-1.6gf_8xb128_in1k.py'
    )


@pytest.mark.parametrize(
    ('name', 'advice'),
    [
        ('resnet50_8xb32_in1', "did you mean 'resnet50_8xb32_in1k'"),
        ('resnet/resnet50_8xb32_in1.py', "did you mean 'resnet/resnet50_8xb32_in1k'"),
        ('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', 'mmpretrain::'),
        ('mmcls::resnet/resnet50_8xb32_in1k.py', 'mmpretrain::'),
        ('_base_/models/resnet50.py', 'did you mean'),
        ('', 'choose one of'),
    ],
)
def test_refuses_others(name, advice):
    with pytest.raises(UserError) as refusal:
        find_config(name, '--teacher', MMPRETRAIN)
    (fault,) = refusal.value.faults
    assert fault.where == '--teacher'
    assert fault.got == repr(name)
    assert advice in fault.advice


def test_asks_back_where_two_folders_have_the_name(monkeypatch):
    monkeypatch.setattr('kd_plugins.scaffold.names.config_names', lambda package: ['a/net', 'b/net'])
    with pytest.raises(UserError, match='choose one of a/net, b/net'):
        find_config('net', '--teacher', MMPRETRAIN)
    assert find_config('b/net', '--teacher', MMPRETRAIN) == 'mmpretrain::b/net.py'


def test_lists_models_alone():
    names = config_names('mmpretrain')
    assert 'swin_transformer/swin-tiny_16xb64_in1k' in names
    assert not [name for name in names if '_base_' in name or '__pycache__' in name]
