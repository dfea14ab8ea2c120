"""Optimisers and schedules that cannot be built are refused with their key path."""

import pytest
from mmengine.config import Config
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, DefaultScope
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


VIT = dict(
    type='ImageClassifier',
    backbone=dict(type='VisionTransformer', arch='deit-tiny', img_size=32, patch_size=16),
    head=dict(type='VisionTransformerClsHead', num_classes=3, in_channels=192),
)
BY_DEPTH = dict(
    constructor='LearningRateDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.75),
    optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.1),
)


def distilled(student, source):
    distiller = logits_only()
    distiller['student_recorders']['logits']['source'] = source
    return SingleTeacherDistill(**algorithm_config(architecture=student, distiller=distiller))


def test_learning_rates_by_depth():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = distilled(VIT, 'head.layers.head')
        assert schedule_faults(Config(dict(optim_wrapper=BY_DEPTH)), model) == []


@pytest.mark.parametrize(
    ('student', 'source', 'name'),
    [
        (
            dict(
                type='ImageClassifier',
                backbone=dict(type='MobileNetV2'),
                neck=dict(type='GlobalAveragePooling'),
                head=dict(type='LinearClsHead', num_classes=3, in_channels=1280),
            ),
            'head.fc',
            'MobileNetV2',
        ),
        (dict(type='ToyClassifier'), 'fc', 'ToyClassifier'),
    ],
)
def test_learning_rates_by_depth_of_a_student_that_knows_no_depths(student, source, name):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        (fault,) = schedule_faults(Config(dict(optim_wrapper=BY_DEPTH)), distilled(student, source))
    assert fault.where == 'optim_wrapper.constructor'
    assert fault.got == f'a {name}, which has no get_layer_depth'
    assert 'remove the constructor' in fault.advice
    assert "custom_keys={'architecture.backbone" in fault.advice


class BackboneFirst(DefaultOptimWrapperConstructor):
    """Looks at the parts of the model that it is given, as the constructors of mmdet and mmseg do."""

    def __call__(self, model):
        assert next(model.backbone.parameters()).requires_grad
        return super().__call__(model)


@pytest.mark.parametrize('optimizer', ['AdamW', 'Adaam'])
def test_a_constructor_that_wants_the_student_itself(optimizer, monkeypatch):
    registered = {**OPTIM_WRAPPER_CONSTRUCTORS._module_dict, 'BackboneFirst': BackboneFirst}
    monkeypatch.setattr(OPTIM_WRAPPER_CONSTRUCTORS, '_module_dict', registered)
    wanted = dict(constructor='BackboneFirst', optimizer=dict(type=optimizer, lr=0.1, weight_decay=0.1))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = distilled(VIT, 'head.layers.head')
        found = schedule_faults(Config(dict(optim_wrapper=wanted)), model)
        alone = schedule_faults(Config(dict(optim_wrapper=wanted)), model.student)
    (fault,) = found
    if optimizer == 'Adaam':
        assert [fault.where for fault in alone] == [fault.where] == ['optim_wrapper']
        return
    assert alone == []
    assert fault.where == 'optim_wrapper.constructor'
    assert 'no SingleTeacherDistill around it' in fault.got
    assert "no attribute 'backbone'" in fault.got
    assert 'remove it' in fault.advice
    assert "custom_keys={'architecture.backbone" in fault.advice
