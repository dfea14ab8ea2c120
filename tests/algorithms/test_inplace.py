"""Activations of the student: they overwrite their input where no record minds, and train it as if they did not."""

import copy

import pytest
import torch
from torch import nn
from toy import ToyClassifier, algorithm_config, snapshot, toy_batch

from kd_plugins.algorithms import SingleTeacherDistill


class ToyWithDropout(ToyClassifier):
    """Its Dropout works in place too."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dropout = nn.Dropout(0.5, inplace=True)


class PickyToy(ToyClassifier):
    """A head that cannot compute its loss outside of training."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'loss' and not self.training:
            raise RuntimeError('no loss outside of training')
        return super().forward(inputs, data_samples, mode)


def make(source, student=ToyClassifier, **changes):
    torch.manual_seed(0)
    loss = dict(type='L2Loss', student=source, teacher=source)
    config = dict(type='ConfigurableDistiller', distill_losses=dict(loss=loss))
    changes.setdefault('teacher', ToyClassifier(channels=4))
    return SingleTeacherDistill(**algorithm_config(architecture=student(), distiller=config, **changes)).train()


def step(algorithm):
    torch.manual_seed(1)
    losses = algorithm(**toy_batch(), mode='loss')
    sum(losses.values()).backward()
    return losses, {name: value.grad for name, value in algorithm.named_parameters() if value.grad is not None}


@pytest.mark.parametrize(
    ('source', 'inplace'),
    [
        (dict(source='relu', record_idx=0), True),
        (dict(source='relu', record_idx=1), True),
        ('fc', True),
        ('bn', False),
        ('conv2', False),
        (dict(type='ModuleInputs', source='relu', record_idx=0, data_idx=0), False),
        (dict(type='MethodOutputs', source='torch.nn.BatchNorm2d.forward'), False),
    ],
)
def test_only_where_no_record_minds(source, inplace):
    algorithm = make(source)
    reference = make(source)
    reference._activations = []
    assert not algorithm.student.relu.inplace
    for _ in range(2):
        (losses, gradients), (expected, expected_gradients) = step(algorithm), step(reference)
        assert algorithm.student.relu.inplace is inplace
        assert not reference.student.relu.inplace
        torch.testing.assert_close(losses, expected, rtol=0, atol=0)
        torch.testing.assert_close(gradients, expected_gradients, rtol=0, atol=0)


def test_looking_changes_nothing():
    algorithm, reference = make('fc'), make('fc')
    reference._activations = []
    for one in (algorithm, reference):
        step(one)
    assert all(torch.equal(value, snapshot(reference)[name]) for name, value in snapshot(algorithm).items())
    assert algorithm.student.training


def test_what_somebody_froze_stays_frozen():
    algorithm = make('fc')
    algorithm.student.bn.eval()
    step(algorithm)
    assert algorithm.student.training
    assert not algorithm.student.bn.training


def test_dropout_is_not_looked_through():
    algorithm = make('fc', ToyWithDropout)
    step(algorithm)
    assert algorithm.student.relu.inplace
    assert not algorithm.student.dropout.inplace


def test_a_student_that_cannot_be_looked_at():
    algorithm = make('fc', PickyToy)
    step(algorithm)
    assert not algorithm.student.relu.inplace


def test_what_was_not_in_place_stays_so():
    student = ToyClassifier()
    student.relu = nn.ReLU()
    algorithm = make('fc', lambda: copy.deepcopy(student))
    step(algorithm)
    assert not algorithm.student.relu.inplace


def test_a_compiled_student_keeps_its_inputs():
    algorithm = make('fc', compile=dict(backend='eager'))
    step(algorithm)
    assert not algorithm.student.relu.inplace


def test_evaluation_comes_first():
    algorithm = make('fc').eval()
    algorithm(**toy_batch(), mode='loss')
    assert not algorithm.student.relu.inplace
    algorithm.train()
    step(algorithm)
    assert algorithm.student.relu.inplace
