"""Every part of a config that the Runner builds is looked up beforehand, all faults at once."""

from kd_plugins.preflight.types import type_faults


def test_all_places_at_once():
    config = dict(
        optim_wrapper=dict(type='OptimWraper', optimizer=dict(type='SGDD')),
        param_scheduler=[dict(type='MultiStepLR'), dict(type='LinearRL')],
        default_hooks=dict(timer=dict(type='IterTimeHook')),
        custom_hooks=[dict(type='EMAHok')],
        val_cfg=dict(type='ValLop'),
        val_evaluator=[dict(type='Acuracy')],
        test_evaluator=dict(type='Evaluatr', metrics=[dict(type='Accuracy'), dict(type='Acuracy')]),
        train_dataloader=dict(
            sampler=dict(type='DefaultSamplr'),
            dataset=dict(type='ImageNt', pipeline=[dict(type='PackInput')]),
        ),
    )
    faults = {fault.where: fault.advice for fault in type_faults(config, 'mmpretrain')}
    expected = {
        'optim_wrapper.type': 'OptimWrapper',
        'optim_wrapper.optimizer.type': 'SGD',
        'param_scheduler.1.type': 'LinearLR',
        'default_hooks.timer.type': 'IterTimerHook',
        'custom_hooks.0.type': 'EMAHook',
        'val_cfg.type': 'ValLoop',
        'val_evaluator.0.type': 'Accuracy',
        'test_evaluator.type': 'Evaluator',
        'test_evaluator.metrics.1.type': 'Accuracy',
        'train_dataloader.sampler.type': 'DefaultSampler',
        'train_dataloader.dataset.type': 'ImageNet',
        'train_dataloader.dataset.pipeline.0.type': 'PackInputs',
    }
    assert faults.keys() == expected.keys()
    for where, name in expected.items():
        assert f"'{name}'" in faults[where]


def test_a_scope_is_that_of_what_is_in_it():
    config = dict(
        train_dataloader=dict(
            _scope_='mmpretrain', dataset=dict(type='ImageNet', pipeline=[dict(type='PackInputs'), dict(type='Packs')])
        ),
        val_evaluator=dict(type='Accuracy', _scope_='mmpretrain'),
        test_evaluator=dict(type='Accuracy'),
    )
    places = [fault.where for fault in type_faults(config, 'mmengine')]
    assert places == ['test_evaluator.type', 'train_dataloader.dataset.pipeline.1.type']


def test_types_of_ours_and_classes_are_known():
    config = dict(
        custom_hooks=[dict(type='kd_plugins.StopDistillHook', stop_epoch=1), dict(type=dict)],
        val_cfg=dict(type='kd_plugins.SingleTeacherDistillValLoop'),
        param_scheduler=dict(type='MultiStepLR'),
        default_hooks=None,
    )
    assert type_faults(config, 'mmpretrain') == []
