import copy

import pytest
import torch
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from torch import nn
from toy import STUDENT_CHANNELS, ToyClassifier, count_hooks, toy_batch

from kd_plugins.build import build_component
from kd_plugins.distiller import ConfigurableDistiller
from kd_plugins.errors import UserError
from kd_plugins.recorders import Parameter
from kd_plugins.registry import MODELS, TASK_UTILS

IMAGES = toy_batch()['inputs']


@pytest.fixture
def model():
    return ToyClassifier()


def attached(model, source='fc.weight'):
    recorder = Parameter(source)
    recorder.attach(model)
    return recorder


def test_the_parameter_itself(model):
    recorder = attached(model)
    with recorder:
        model(IMAGES)
    (record,) = recorder.pop()
    assert record is model.fc.weight
    assert recorder.pop() == []


def test_one_record_per_entering(model):
    recorder = attached(model)
    for _ in range(2):
        with recorder:
            model(IMAGES)
            model(IMAGES)
        assert len(recorder.pop()) == 1


def test_a_shared_parameter_is_found_under_both_names():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    recorder = attached(model, '1.weight')
    with recorder:
        model(torch.ones(1, 2))
    assert recorder.pop()[0] is model[0].weight


def test_a_parameter_that_was_replaced_is_not_the_old_one(model):
    recorder = attached(model)
    model.fc.weight = nn.Parameter(torch.zeros_like(model.fc.weight))
    with recorder:
        model(IMAGES)
    assert recorder.pop()[0] is model.fc.weight


def test_a_copy_of_both_records_the_copied_model(model):
    other, recorder = copy.deepcopy((model, attached(model)))
    with recorder:
        other(IMAGES)
    assert recorder.pop()[0] is other.fc.weight


def test_an_exception_leaves_no_record(model):
    recorder = attached(model)
    with pytest.raises(ZeroDivisionError), recorder:  # noqa: PT012
        model(IMAGES)
        raise ZeroDivisionError
    assert recorder.pop() == []


def test_a_model_of_which_a_part_runs(model):
    recorder = attached(model)
    with recorder:
        model.conv1(IMAGES)
        # as after a forward that was to find something out
        assert recorder.pop()[0] is model.fc.weight
        model.conv1(IMAGES)
    assert recorder.pop()[0] is model.fc.weight
    assert recorder.pop() == []


def test_detach_leaves_no_hook(model):
    recorder = attached(model)
    recorder.detach()
    recorder.detach()
    assert count_hooks(model) == 0
    with recorder:
        model(IMAGES)
    assert recorder.pop() == []


@pytest.mark.parametrize(
    ('source', 'advice'),
    [('fc.weigth', "did you mean 'fc.weight'"), ('head.fc.weight', "'fc.weight'"), ('bn.running_mean', "'bn.bias'")],
)
def test_an_unknown_name_names_the_closest(model, source, advice):
    with pytest.raises(UserError) as caught:
        Parameter(source).attach(model)
    (fault,) = caught.value.faults
    assert (fault.where, fault.expected, fault.got) == ('source', 'a parameter of ToyClassifier', repr(source))
    assert advice in fault.advice
    assert count_hooks(model) == 0


@pytest.mark.parametrize('name', ['Parameter', 'ParameterRecorder'])
def test_type_names(name):
    assert type(build_component(TASK_UTILS, dict(type=name, source='fc'), 'here')) is Parameter
    assert type(MMENGINE_TASK_UTILS.build(dict(type=f'kd_plugins.{name}', source='fc'))) is Parameter


def test_a_loss_of_two_parameters_in_the_short_form():
    student, teacher = ToyClassifier(STUDENT_CHANNELS), ToyClassifier(STUDENT_CHANNELS)
    source = dict(type='Parameter', source='fc.weight')
    distiller = ConfigurableDistiller(distill_losses=dict(loss_w=dict(type='L2Loss', student=source, teacher=source)))
    distiller.prepare_from_student(student)
    distiller.prepare_from_teacher(teacher)
    with distiller.teacher_recorders, torch.no_grad():
        teacher(IMAGES)
    with distiller.student_recorders:
        student(IMAGES)
    losses = distiller.compute_distill_losses()
    assert list(losses) == ['loss_w']
    l2 = MODELS.build(dict(type='L2Loss'))
    assert torch.equal(losses['loss_w'], l2(student.fc.weight, teacher.fc.weight))
    losses['loss_w'].backward()
    assert student.fc.weight.grad.abs().sum() > 0
