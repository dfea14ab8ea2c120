"""What a recipe of mmdet asks of the model that it trains, where that is a distillation."""

from types import SimpleNamespace

import pytest
from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

from kd_plugins.algorithms import MultiTeacherDistill, SingleTeacherDistill
from kd_plugins.preflight.schedule import schedule_faults

YOLOX = dict(cfg_path='mmdet::yolox/yolox_tiny_8xb8-300e_coco.py', pretrained=False)


def algorithm(kind, student):
    loss = dict(type='PKDLoss', student=dict(source='neck', data_idx=0), teacher=dict(source='neck', data_idx=0))
    teacher = dict(teacher=student)
    if kind is MultiTeacherDistill:
        loss['teacher'] = dict(source='a.neck', data_idx=0)
        teacher = dict(teachers=dict(a=dict(build_cfg=student)))
    distiller = dict(type='ConfigurableDistiller', distill_losses=dict(loss_pkd=loss))
    with DefaultScope.overwrite_default_scope('mmdet'):
        return kind(distiller=distiller, architecture=student, **teacher)


@pytest.mark.parametrize('kind', [SingleTeacherDistill, MultiTeacherDistill])
def test_the_last_epochs_of_yolox(kind):
    """The hook switches the head's second loss on."""
    from mmdet.engine.hooks import YOLOXModeSwitchHook

    model = algorithm(kind, YOLOX)
    skipped = []
    loader = SimpleNamespace(dataset=SimpleNamespace(update_skip_type_keys=skipped.append))
    hook = YOLOXModeSwitchHook(num_last_epochs=15)
    for epoch in (283, 284):
        assert model.student.bbox_head.use_l1 is False
        assert skipped == []
        hook.before_train_epoch(
            SimpleNamespace(
                epoch=epoch,
                max_epochs=300,
                model=model,
                train_dataloader=loader,
                logger=MMLogger.get_current_instance(),
            )
        )
    assert model.student.bbox_head.use_l1 is True
    assert skipped == [('Mosaic', 'RandomAffine', 'MixUp')]
    assert not any(name.startswith('detector') for name in model.state_dict())


def test_learning_rates_by_depth_are_refused_with_the_reason():
    """mmdet's and mmseg's constructor looks at the backbone of what it is given."""
    backbone = dict(
        _delete_=True,
        type='mmpretrain.ConvNeXt',
        arch=dict(depths=[1, 1, 1, 1], channels=[8, 8, 8, 8]),
        out_indices=[1, 2, 3],
        gap_before_final_norm=False,
    )
    student = dict(
        cfg_path='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
        backbone=backbone,
        neck=dict(in_channels=[8, 8, 8], start_level=0, out_channels=8),
        bbox_head=dict(in_channels=8, feat_channels=8, stacked_convs=1),
    )
    model = algorithm(SingleTeacherDistill, ConfigDict(student))
    optim_wrapper = dict(
        constructor='LearningRateDecayOptimizerConstructor',
        paramwise_cfg=dict(decay_rate=0.95, decay_type='layer_wise', num_layers=6),
        optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        (fault,) = schedule_faults(Config(dict(optim_wrapper=optim_wrapper)), model)
        assert schedule_faults(Config(dict(optim_wrapper=optim_wrapper)), model.student) == []
    assert fault.where == 'optim_wrapper.constructor'
    assert "no attribute 'backbone'" in fault.got
