"""Losses that need the true class, in batches that mmpretrain has mixed."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from kd_plugins.engine.config import load_config
from kd_plugins.errors import UserError
from kd_plugins.losses import WSLD, DKDLoss
from kd_plugins.preflight import build_from_config, check_training
from kd_plugins.preflight.probe import probe_batch
from tools import train

METHODS = Path(__file__).parents[2] / 'configs/quickstart/methods'
MIXES = [dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]
# the config of each loss, and the loss that it is
LABELLED = {'dkd': lambda: DKDLoss(tau=4, beta=8), 'wsld': lambda: WSLD(tau=2, loss_weight=2.5, num_classes=10)}


def config_of(method, mix, labels):
    config = load_config(METHODS / f'{method}_vgg_cnn_digits.py')
    config.model.teacher_ckpt = None
    config.data_preprocessor.batch_augments = dict(augments=mix)
    config.model.distiller.distill_losses[f'loss_{method}'].labels = labels
    return config


@pytest.mark.parametrize('mix', MIXES, ids=lambda mix: mix['type'])
@pytest.mark.parametrize('method', LABELLED)
def test_a_training_step_takes_the_larger_part(method, mix):
    config = config_of(method, mix, 'argmax')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = build_from_config(config).train()
        data = model.data_preprocessor(probe_batch(config), True)
    assert data['data_samples'][0].gt_score.shape == (10,)
    # one image of 0.9 of class 3 and 0.1 of class 7, and one the other way round
    for sample, (most, least) in zip(data['data_samples'], ((3, 7), (7, 3)), strict=True):
        sample.set_gt_score(
            torch.zeros(10).index_fill_(0, torch.tensor(most), 0.9).index_fill_(0, torch.tensor(least), 0.1)
        )
    predictions = {}
    for role, part in (('student', model.student), ('teacher', model.teacher)):
        part.head.fc.register_forward_hook(lambda _, __, out, role=role: predictions.update({role: out.detach()}))

    losses = model(**data, mode='loss')
    losses[f'distill.loss_{method}'].backward()

    expected = LABELLED[method]()(predictions['student'], predictions['teacher'], torch.tensor([3, 7]))
    torch.testing.assert_close(losses[f'distill.loss_{method}'].detach(), expected)
    assert model.student.head.fc.weight.grad.abs().max() > 0


@pytest.mark.parametrize('place', ['data_preprocessor', 'train_cfg'])
def test_without_the_choice_the_preflight_names_what_mixes(place, tmp_path):
    config = config_of('dkd', MIXES[0], 'index')
    if place == 'train_cfg':
        config.data_preprocessor.pop('batch_augments')
        config.model.architecture.train_cfg = dict(augments=MIXES[0])
    config.work_dir = str(tmp_path)
    with pytest.raises(UserError) as caught:
        check_training(config)
    (fault,) = caught.value.faults
    assert 'gt_labels' in fault.where
    assert "labels='argmax'" in fault.advice
    assert 'data_preprocessor.batch_augments' in fault.advice


@pytest.mark.parametrize('mix', MIXES, ids=lambda mix: mix['type'])
def test_the_tool_trains_with_mixed_labels(mix, tmp_path):
    status = train.main(
        [
            str(METHODS / 'dkd_vgg_cnn_digits.py'),
            '--work-dir',
            str(tmp_path),
            '--cfg-options',
            'model.teacher_ckpt=None',
            f'data_preprocessor.batch_augments.augments.type={mix["type"]}',
            f'data_preprocessor.batch_augments.augments.alpha={mix["alpha"]}',
            'model.distiller.distill_losses.loss_dkd.labels=argmax',
            'train_cfg.max_iters=2',
            'train_cfg.val_interval=2',
            'param_scheduler.1.begin=1',
        ]
    )
    assert status == 0
