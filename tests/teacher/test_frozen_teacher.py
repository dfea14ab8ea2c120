import copy

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from torch import nn
from toy import ToyClassifier, algorithm_config, is_same, snapshot, toy_batch

from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.build import Declared
from kd_plugins.recorders import RecorderSet
from kd_plugins.teacher import FrozenTeacher


@pytest.fixture
def algorithm():
    return SingleTeacherDistill(**algorithm_config())


def modes(model):
    return {module.training for module in model.modules()}


def test_all_modules_are_in_eval_mode():
    teacher = FrozenTeacher(ToyClassifier().train())
    assert modes(teacher.model) == {False}


def recorded(teacher, batch):
    recorders = RecorderSet({'logits': Declared(dict(type='ModuleOutputs', source='fc'), '')})
    recorders.attach(teacher.model)
    with recorders:
        teacher.record(recorders, **batch)
    (logits,) = recorders.pop()['logits']
    return logits


def test_runs_without_gradient():
    teacher = FrozenTeacher(ToyClassifier())
    batch = toy_batch()
    assert not recorded(teacher, {**batch, 'inputs': batch['inputs'].requires_grad_()}).requires_grad
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())


def test_is_the_same_each_time_for_dropout_is_off():
    teacher = FrozenTeacher(ToyClassifier())
    assert torch.equal(recorded(teacher, toy_batch()), recorded(teacher, toy_batch()))


def test_is_in_eval_mode_again_after_somebody_trained_it(algorithm):
    algorithm.teacher.train()
    algorithm(**toy_batch(), mode='loss')
    assert modes(algorithm.teacher) == {False}


def test_train_does_not_reach_it(algorithm):
    assert algorithm.train() is algorithm
    assert modes(algorithm.teacher) == {False}
    assert modes(algorithm.architecture) == {True}
    assert modes(algorithm.distiller) == {True}
    algorithm.eval()
    assert modes(algorithm) == {False}


def test_is_no_part_of_the_algorithm(algorithm):
    assert not [name for name in algorithm.state_dict() if 'teacher' in name]
    assert not [name for name, _ in algorithm.named_parameters() if 'teacher' in name]
    assert not [name for name, _ in algorithm.named_buffers() if 'teacher' in name]
    assert not [name for name, _ in algorithm.named_modules() if 'teacher' in name]
    teachers = {id(tensor) for tensor in (*algorithm.teacher.parameters(), *algorithm.teacher.buffers())}
    assert not teachers & {id(tensor) for tensor in (*algorithm.parameters(), *algorithm.buffers())}
    assert {name.split('.')[0] for name in algorithm.state_dict()} == {'architecture', 'distiller'}


def test_gets_no_gradient_and_never_moves(algorithm):
    before = snapshot(algorithm.teacher)
    optimizer = torch.optim.SGD(algorithm.parameters(), lr=1)
    algorithm.train()
    for _ in range(2):
        sum(algorithm(**toy_batch(), mode='loss').values()).backward()
        optimizer.step()
    assert all(parameter.grad is None for parameter in algorithm.teacher.parameters())
    assert is_same(before, snapshot(algorithm.teacher))


def test_is_shared_by_copies(algorithm):
    other = copy.deepcopy(algorithm)
    assert other.teacher is algorithm.teacher
    assert other.architecture is not algorithm.architecture
    assert other.architecture.conv1.weight is not algorithm.architecture.conv1.weight


def test_is_shared_by_ema(algorithm):
    ema = ExponentialMovingAverage(algorithm, momentum=0.5)
    assert ema.module.teacher is algorithm.teacher
    assert not [name for name in ema.state_dict() if 'teacher' in name]
    with torch.no_grad():
        algorithm.architecture.fc.bias.add_(1)
    ema.update_parameters(algorithm)
    ema.update_parameters(algorithm)
    assert is_same(snapshot(algorithm.teacher), snapshot(ema.module.teacher))


def test_ema_predicts(algorithm):
    ema = ExponentialMovingAverage(algorithm).eval()
    algorithm.eval()
    batch = toy_batch()
    assert torch.equal(ema(**batch, mode='tensor'), algorithm(**batch, mode='tensor'))


@pytest.mark.parametrize('move', [lambda model: model.to(torch.float64), lambda model: model.double()])
def test_moves_with_the_algorithm(algorithm, move):
    assert move(algorithm) is algorithm
    assert {parameter.dtype for parameter in algorithm.teacher.parameters()} == {torch.float64}
    assert algorithm.teacher.bn.running_mean.dtype == torch.float64
    batch = toy_batch(dtype=torch.float64)
    assert all(loss.dtype == torch.float64 for loss in algorithm(**batch, mode='loss').values())


def test_moves_to_a_device_with_the_algorithm(algorithm):
    algorithm.to('meta')
    assert {parameter.device.type for parameter in algorithm.teacher.parameters()} == {'meta'}


def test_moves_inside_a_wrapper(algorithm):
    nn.Sequential(algorithm).half()
    assert algorithm.teacher.fc.weight.dtype == torch.float16


def test_a_trainable_teacher_moves_once():
    algorithm = SingleTeacherDistill(**algorithm_config(teacher_trainable=True))
    calls = []
    algorithm._apply(lambda tensor: calls.append(id(tensor)) or tensor)
    weight = id(algorithm.teacher.fc.weight)
    assert calls.count(weight) == 1


def test_initialisation_does_not_reach_it(algorithm):
    before = snapshot(algorithm.teacher)
    student = snapshot(algorithm.architecture)
    algorithm.architecture.init_cfg = dict(type='Constant', layer='Linear', val=0.5)
    algorithm.teacher.init_cfg = dict(type='Constant', layer='Linear', val=0.5)
    algorithm.init_weights()
    assert not is_same(student, snapshot(algorithm.architecture))
    assert is_same(before, snapshot(algorithm.teacher))
