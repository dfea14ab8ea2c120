"""Optimisers and schedules that cannot be built are refused with their key path."""

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn
from toy import algorithm_config, logits_only

from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.preflight.schedule import schedule_faults

GOOD = dict(
    train_cfg=dict(by_epoch=True, max_epochs=10),
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.1, end=2, convert_to_iter_based=True),
        dict(type='CosineAnnealingLR', begin=2, T_max=8),
    ],
)


def faults(**changes):
    return schedule_faults(Config({**GOOD, **changes}), nn.Linear(2, 2))


def test_a_good_one_leaves_no_trace():
    config = Config(GOOD)
    before = config.pretty_text
    assert schedule_faults(config, nn.Linear(2, 2)) == []
    assert config.pretty_text == before
    assert faults(param_scheduler=None) == faults(param_scheduler=dict(type='MultiStepLR', milestones=[5])) == []


@pytest.mark.parametrize(
    ('changes', 'where', 'said'),
    [
        (dict(optim_wrapper=dict(optimizer=dict(type='SGD', lrr=0.1))), 'optim_wrapper.optimizer.lrr', "'lrr'"),
        (dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=-1))), 'optim_wrapper.optimizer', 'learning rate'),
        (dict(optim_wrapper=dict()), 'optim_wrapper', 'optimizer'),
        (dict(param_scheduler=[dict(type='LinearLR', begin=5, end=2)]), 'param_scheduler.0', 'end'),
        (dict(param_scheduler=dict(type='MultiStepLR', milestone=[5])), 'param_scheduler', 'milestone'),
    ],
)
def test_what_cannot_be_built(changes, where, said):
    found = faults(**changes)
    assert len(found) == 1
    assert found[0].where.startswith(where)
    assert said in found[0].got


@pytest.mark.parametrize('optimizer', ['AdamW', 'Adaam'])
def test_a_constructor_that_wants_the_student_itself(optimizer):
    student = dict(
        type='ImageClassifier',
        backbone=dict(type='VisionTransformer', arch='deit-tiny', img_size=32, patch_size=16),
        head=dict(type='VisionTransformerClsHead', num_classes=3, in_channels=192),
    )
    wanted = dict(
        constructor='LearningRateDecayOptimWrapperConstructor',
        paramwise_cfg=dict(layer_decay_rate=0.75),
        optimizer=dict(type=optimizer, lr=0.1, weight_decay=0.1),
    )
    distiller = logits_only()
    distiller['student_recorders']['logits']['source'] = 'head.layers.head'
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = SingleTeacherDistill(**algorithm_config(architecture=student, distiller=distiller))
        found = schedule_faults(Config(dict(optim_wrapper=wanted)), model)
        alone = schedule_faults(Config(dict(optim_wrapper=wanted)), model.student)
    (fault,) = found
    if optimizer == 'Adaam':
        assert found == alone
        return
    assert alone == []
    assert fault.where == 'optim_wrapper.constructor'
    assert 'no SingleTeacherDistill around it' in fault.got
    assert 'get_layer_depth' in fault.got
    assert 'remove it' in fault.advice
    assert "custom_keys={'architecture.backbone" in fault.advice
