"""The same training without distillation, as long or for as much compute."""

from pathlib import Path

import pytest
from mmengine.config import Config

from kd_plugins.build import read_library_config
from kd_plugins.engine.config import load_config
from kd_plugins.engine.run_result import describe_config
from kd_plugins.errors import UserError
from kd_plugins.sweep.baseline import length_of, longer, student_alone

CONFIGS = Path(__file__).parents[2] / 'configs'


def test_is_the_config_that_was_written_for_it():
    alone = student_alone(load_config(CONFIGS / 'quickstart/kd_vgg_cnn_digits.py'))
    written = load_config(CONFIGS / 'quickstart/student_cnn_digits.py')

    assert alone.model.to_dict() == written.model.to_dict()
    assert dict(alone.val_cfg) == {}
    found, expected = describe_config(alone), describe_config(written)
    assert found['data'] == expected['data']
    assert found['schedule'] == expected['schedule']


def test_resolves_the_path_of_a_model():
    config = load_config(CONFIGS / 'quickstart/fitnets_resnet50_resnet18_digits.py')
    config.custom_hooks = [dict(type='kd_plugins.StopDistillHook', stop_epoch=3), dict(type='EMAHook')]
    alone = student_alone(config)
    assert alone.model.backbone.depth == 18
    assert alone.model.head.num_classes == 10
    assert [hook['type'] for hook in alone.custom_hooks] == ['EMAHook']
    assert len(config.custom_hooks) == 2


def test_keeps_where_the_student_begins():
    config = load_config(CONFIGS / 'quickstart/fitnets_resnet50_resnet18_digits.py')
    config.model.architecture.pretrained = True
    listed = read_library_config(config.model.architecture.cfg_path, pretrained=True).model_path
    assert student_alone(config).model.init_cfg == dict(type='Pretrained', checkpoint=listed)


def test_keeps_what_its_parameters_are_trained_with():
    config = load_config(CONFIGS / 'quickstart/kd_vgg_cnn_digits.py')
    config.optim_wrapper.paramwise_cfg = dict(custom_keys={'architecture.head': dict(lr_mult=2), 'norm': dict()})
    assert set(student_alone(config).optim_wrapper.paramwise_cfg.custom_keys) == {'head', 'norm'}


def test_refuses_what_has_no_student():
    with pytest.raises(UserError, match='give --baseline CONFIG'):
        student_alone(load_config(CONFIGS / 'quickstart/student_cnn_digits.py'))


def test_refuses_a_share_of_the_loss():
    config = load_config(CONFIGS / 'quickstart/kd_vgg_cnn_digits.py')
    config.model.architecture.head.loss = dict(type='CrossEntropyLoss', loss_weight=0.1)
    with pytest.raises(UserError, match=r'head\.loss\.loss_weight.*got 0\.1; give --baseline CONFIG'):
        student_alone(config)


def test_is_the_longer_config_that_was_written():
    config = load_config(CONFIGS / 'quickstart/student_cnn_digits.py')
    written = load_config(CONFIGS / 'quickstart/student_cnn_digits_same_compute.py')
    stretched = longer(config, 1.8)
    assert stretched.train_cfg.max_iters == written.train_cfg.max_iters == 540
    assert stretched.param_scheduler == written.param_scheduler
    assert config.train_cfg.max_iters == 300


def test_whole_epochs_and_all_times():
    config = Config(
        dict(
            train_cfg=dict(by_epoch=True, max_epochs=10, val_interval=2),
            param_scheduler=[
                dict(type='LinearLR', begin=0, end=3),
                dict(type='MultiStepLR', milestones=[3, 6], gamma=0.1),
                dict(type='CosineAnnealingLR', T_max=7, begin=3, end=10),
            ],
        )
    )
    stretched = longer(config, 1.52)
    assert length_of(stretched) == 16
    # times 1.6
    assert stretched.param_scheduler == [
        dict(type='LinearLR', begin=0, end=5),
        dict(type='MultiStepLR', milestones=[5, 10], gamma=0.1),
        dict(type='CosineAnnealingLR', T_max=11, begin=5, end=16),
    ]
    assert length_of(longer(config, 1.1)) == 11
    config.param_scheduler = [dict(type='ExponentialLR', gamma=0.81)]
    # 20 epochs of the square root
    assert longer(config, 2).param_scheduler[0].gamma == pytest.approx(0.9)
    assert longer(config, 1.0).to_dict() == config.to_dict()


def test_refuses_a_training_without_an_end():
    with pytest.raises(UserError, match='max_epochs or max_iters'):
        longer(Config(dict(train_cfg=dict(type='Loop'))), 2)
