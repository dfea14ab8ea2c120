"""What one step on a small batch shows of the records."""

import pytest
import torch
from faulty import write
from mmengine.registry import MODELS
from toy import ToyClassifier, runner_config

from kd_plugins.engine.config import load_config
from kd_plugins.preflight import inspect_training


@MODELS.register_module()
class AddingClassifier(ToyClassifier):
    """Adds to the output of a layer in place, as a block of a ResNet does; a relu in place follows a BatchNorm."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        shortcut = self.relu(self.bn(self.conv1(inputs)))
        feature = self.conv2(shortcut)
        feature += shortcut
        feature = self.relu(feature)
        feature = feature if torch.is_grad_enabled() else feature.add_(1)
        logits = self.fc(feature.mean((2, 3)))
        return {'loss': torch.nn.functional.cross_entropy(logits, data_samples)} if mode == 'loss' else logits


def overwritten(tmp_path, student, teacher, **changes):
    """Key paths of the sources that the preflight finds overwritten, each with what it says."""
    loss = dict(type='L2Loss', student=student, teacher=teacher)
    model = {
        'type': 'kd_plugins.SingleTeacherDistill',
        'architecture': dict(type='AddingClassifier'),
        'teacher': dict(type='AddingClassifier'),
        'distiller': dict(type='ConfigurableDistiller', distill_losses=dict(loss_a=loss)),
        **changes,
    }
    if model['type'].endswith('SelfDistill'):
        model.pop('teacher')
    config = load_config(write(runner_config('unused', model=model), tmp_path / 'config.py'))
    config.work_dir = str(tmp_path / 'run')
    findings = inspect_training(config)
    assert findings.faults == []
    return {
        warning.where.removeprefix('model.distiller.distill_losses.loss_a.'): warning.got
        for warning in findings.warnings
        if 'overwritten' in warning.got
    }


@pytest.mark.parametrize('forward', [{}, dict(stop_early=False), dict(fold_bn=False, inplace=False)])
def test_a_record_that_the_model_overwrites(forward, tmp_path):
    found = overwritten(tmp_path, 'conv2', dict(source='conv2'), teacher_forward=forward)
    assert list(found) == ['teacher.source', 'student']
    assert all(got.startswith("'conv2', which is overwritten later") for got in found.values())


def test_in_self_distillation(tmp_path):
    found = overwritten(tmp_path, 'conv2', 'bn', type='kd_plugins.SelfDistill')
    assert list(found) == ['student']


def test_an_activation_in_place_counts_where_it_stays_so(tmp_path):
    assert overwritten(tmp_path, 'bn', 'bn') == {}
    assert list(overwritten(tmp_path, 'bn', 'bn', module_inplace=True)) == ['student']
    assert list(overwritten(tmp_path, 'bn', 'bn', teacher_module_inplace=True)) == ['teacher']


def test_only_the_call_that_a_loss_takes_counts(tmp_path):
    first, second = (dict(source='relu', record_idx=index) for index in (0, -1))
    assert overwritten(tmp_path, first, first) == {}
    # the teacher runs without gradient
    assert list(overwritten(tmp_path, first, second)) == ['teacher.source']
