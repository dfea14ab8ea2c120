"""`_delete_` where there is nothing to replace is refused where it was written."""

import pytest
from mmengine.registry import DefaultScope
from toy import runner_config

from kd_plugins.build import build_model, leftover_deletions
from kd_plugins.engine.config import load_config
from kd_plugins.errors import UserError

BASE = """
model = dict(type='ToyClassifier', head=dict(type='A', loss=dict(type='B')))
hooks = [dict(type='C')]
custom_hooks = hooks
"""


@pytest.fixture
def load(tmp_path):
    def load(text, **options):
        (tmp_path / 'base.py').write_text(BASE)
        (tmp_path / 'config.py').write_text(f"_base_ = ['base.py']\n{text}")
        return load_config(tmp_path / 'config.py', options)

    return load


@pytest.mark.parametrize(
    ('text', 'where'),
    [
        ("model = dict(neck=dict(_delete_=True, type='N'))", ['model.neck._delete_']),
        ("model = dict(head=dict(_delete_=True, type='N', loss=dict(_delete_=True)))", ['model.head.loss._delete_']),
        ("model = dict(head=dict(norm=dict(_delete_=False, type='N')))", ['model.head.norm._delete_']),
        ("custom_hooks = [dict(_delete_=True, type='N')]", ['custom_hooks.0._delete_']),
        ("visualizer = dict(_delete_=True, type='N')", ['visualizer._delete_']),
        ("teacher = dict(_delete_=True, type='N')\nmodel = dict(teacher=teacher)", ['model.teacher._delete_']),
        (
            "model = dict(a=dict(_delete_=True), b=dict(_delete_=True, cfg_path='x', head=dict(_delete_=True)))",
            ['model.a._delete_', 'model.b._delete_'],
        ),
    ],
)
def test_over_nothing(load, text, where):
    with pytest.raises(UserError) as caught:
        load(text)
    assert [fault.where for fault in caught.value.faults] == where
    assert {fault.advice for fault in caught.value.faults} == {'remove it'}


@pytest.mark.parametrize(
    'text',
    [
        "model = dict(head=dict(_delete_=True, type='N'))",
        "head = dict(_delete_=True, type='N')\nmodel = dict(head=head)",  # a variable of the file waits for no merge
        "model = dict(head=dict(_delete_=True, cfg_path='x', part=dict(_delete_=True, type='N')))",
    ],
)
def test_over_what_is_there(load, text):
    config = load(text)
    assert '_delete_' not in config.model.head
    assert 'loss' not in config.model.head


def test_an_option_of_the_command_line(load):
    with pytest.raises(UserError) as caught:
        load('', **{'model.neck': dict(_delete_=True, type='N')})
    assert [fault.where for fault in caught.value.faults] == ['model.neck._delete_']


def test_in_what_a_library_does_not_have():
    config = dict(
        cfg_path='mmpretrain::resnet/resnet18_8xb32_in1k.py',
        head=dict(_delete_=True, type='LinearClsHead', num_classes=3, in_channels=512),
        train_cfg=dict(_delete_=True, augments=None),
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        with pytest.raises(UserError) as caught:
            build_model(config, 'architecture')
        config['train_cfg'].pop('_delete_')
        assert build_model(config, 'architecture')[0].head.num_classes == 3
    assert [fault.where for fault in caught.value.faults] == ['architecture.train_cfg._delete_']


def test_a_config_without(tmp_path):
    assert leftover_deletions(runner_config(tmp_path), '') == []
