"""What users add of their own is run as it will run, and no good config is refused for it."""

import json

import pytest
import torch
from faulty import good_config, put, write
from mmengine.logging import MessageHub
from mmengine.registry import MODELS, TASK_UTILS
from torch import nn

from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.distiller import ConfigurableDistiller
from kd_plugins.engine.config import load_config
from kd_plugins.preflight import inspect_training, render

LOSSES = 'model.distiller.distill_losses'
CONNECTOR = f'{LOSSES}.loss_feature.connector'


@MODELS.register_module()
class OwnAlgorithm(SingleTeacherDistill):
    """Adds a loss with parameters of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.extra = nn.Linear(3, 1)

    def loss(self, inputs, data_samples=None):
        return {**super().loss(inputs, data_samples), 'loss_extra': self.extra(inputs.mean((2, 3))).mean()}


@MODELS.register_module()
class OwnDistiller(ConfigurableDistiller):
    """Adds a loss with parameters of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scale = nn.Parameter(torch.ones(()))

    def compute_distill_losses(self):
        return {name: loss * self.scale for name, loss in super().compute_distill_losses().items()}


@MODELS.register_module()
class WarmLoss(nn.Module):
    """Grows over the run, whose progress it asks mmengine for."""

    def forward(self, preds_S, preds_T):  # noqa: N803
        hub = MessageHub.get_current_instance()
        return (hub.get_info('iter') / hub.get_info('max_iters') + 1) * (preds_S - preds_T).square().mean()


@MODELS.register_module()
class LastOf(nn.Module):
    """A connector that takes a tuple."""

    def forward(self, features):
        return features[-1]


@TASK_UTILS.register_module()
class NoRecorder:
    """Takes a source, and is no recorder."""

    def __init__(self, source):
        self.source = source


def findings_of(config, tmp_path, **changes):
    loaded = load_config(write(config, tmp_path / 'config.py'))
    loaded.work_dir = str(tmp_path / 'run')
    loaded.update(changes)
    return inspect_training(loaded)


@pytest.mark.parametrize('path', ['model.type', 'model.distiller.type'])
def test_parameters_of_own_classes_get_their_gradient(path, tmp_path):
    config = good_config('short')
    put(config, path, {'model.type': 'OwnAlgorithm', 'model.distiller.type': 'OwnDistiller'}[path])
    findings = findings_of(config, tmp_path, launcher='pytorch')
    assert (findings.faults, findings.without_gradient) == ([], [])


def test_a_loss_that_asks_how_far_the_run_is(tmp_path):
    config = good_config('short')
    put(config, f'{LOSSES}.loss_warm', dict(type='WarmLoss', student='head.fc', teacher='head.fc'))
    hub = MessageHub.get_current_instance()
    before = dict(hub.runtime_info)
    assert findings_of(config, tmp_path).faults == []
    assert dict(hub.runtime_info) == before


def test_a_connector_that_takes_a_tuple(tmp_path):
    config = good_config('short')
    own = dict(source='pair', connector=dict(type='LastOf'))
    put(config, f'{LOSSES}.loss_feature', dict(type='L2Loss', student=own, teacher=own))
    put(config, 'model.teacher.channels', 4)
    assert findings_of(config, tmp_path).faults == []


def test_a_class_that_is_no_recorder(tmp_path):
    config = good_config('short')
    put(config, f'{LOSSES}.loss_kl.student', dict(type='NoRecorder', source='head.fc'))
    (fault,) = findings_of(config, tmp_path).faults
    assert (fault.where, fault.expected) == (f'{LOSSES}.loss_kl.student.type', 'a recorder')


def test_nothing_that_learns(tmp_path):
    config = good_config('short')
    put(config, 'model.student_trainable', False)
    put(config, 'model.calculate_student_loss', False)
    put(config, 'model.teacher.channels', 4)
    put(config, CONNECTOR, None)
    (fault,) = findings_of(config, tmp_path).faults
    assert fault.expected == 'something that learns'


def test_an_empty_type(tmp_path):
    config = good_config('short')
    put(config, 'train_dataloader.sampler.type', '')
    put(config, f'{LOSSES}.loss_kl.type', '')
    wheres = [fault.where for fault in findings_of(config, tmp_path).faults]
    assert wheres == ['train_dataloader.sampler.type', f'{LOSSES}.loss_kl.type']


def test_a_loss_that_is_not_finite(tmp_path):
    config = good_config('short')
    put(config, f'{LOSSES}.loss_kl.loss_weight', 1e39)
    findings = findings_of(config, tmp_path)
    findings.losses[0] = findings.losses[0].__class__(**{**vars(findings.losses[0]), 'value': float('nan')})
    assert json.loads(render.findings_as_json(findings))['losses'][0]['value'] is None


def test_auto_that_two_losses_share(tmp_path):
    config = good_config('short')
    put(config, 'model.distiller.connectors', dict(both='auto'))
    feature = dict(source='relu', record_idx=1)
    for name in ('loss_feature', 'loss_again'):
        put(config, f'{LOSSES}.{name}', dict(type='L2Loss', student=feature, teacher=feature, connector='both'))
    findings = findings_of(config, tmp_path)
    assert findings.faults == []
    assert list(findings.chosen) == ['model.distiller.connectors.both']

    put(config, f'{LOSSES}.loss_again.teacher', 'stages.1')
    (fault,) = findings_of(config, tmp_path).faults
    assert fault.where == 'model.distiller.connectors.both'
    assert fault.expected == 'losses that need one and the same connector'
    assert "connector='auto' into each loss" in fault.advice
