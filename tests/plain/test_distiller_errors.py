"""What a distiller refuses, and that it leaves both models alone then."""

import copy
import re

import pytest
import torch
from nets import ResNet, batch, losses
from torch import nn
from toy import count_hooks

import kd_plugins
from kd_plugins import Distiller
from kd_plugins.errors import UserError

IMAGES = batch()[0]


def one(**changes):
    return dict(loss_s2={**losses()['loss_s2'], **changes})


class Idle(ResNet):
    """Has a layer that its forward never calls."""

    def __init__(self, width):
        super().__init__(width)
        self.unused = nn.Identity()


SHARED = ResNet()
# what is given, and what the message must say
REFUSED = {
    'unknown source': (
        dict(losses=one(student='layer3')),
        r"losses.loss_s2.student: expected a module of ResNet, got 'layer3'; did you mean 'layer2' or 'layer1'",
    ),
    'unknown source of the teacher, without a sample': (
        dict(losses=one(teacher='backbone.layer2', connector=None), sample=None),
        r"losses.loss_s2.teacher: expected a module of ResNet, got 'backbone.layer2'; .*layer2",
    ),
    'auto without a sample': (
        dict(sample=None),
        r"losses.loss_s2.connector: .* no sample batch, got 'auto'; pass sample=images",
    ),
    'channels left out without a sample': (
        dict(losses=one(connector=dict(type='ConvModuleConnector')), sample=None),
        'losses.loss_s2.connector: .* pass sample=images',
    ),
    'records that do not meet': (
        dict(losses=one(connector=None)),
        r"losses.loss_s2.*\(2, 8, 8, 8\).*\(2, 12, 8, 8\).*add connector='auto' to the loss, .* ConvModule 8 to 12",
    ),
    'records that no connector makes meet': (
        dict(losses=one(student='fc')),
        'losses.loss_s2.connector: expected two records that connectors can make equal',
    ),
    'source that does not run': (
        dict(losses=one(student='unused', connector=None), student=Idle(4)),
        "losses.loss_s2.student: expected a source that runs in the forward, got 'unused'",
    ),
    'gradients': (
        dict(losses=one(student=dict(type='ModuleOutputGrads', source='layer2'), connector=None)),
        'losses.loss_s2.student.type: expected a recorder of what a forward computes',
    ),
    'sample that a model cannot take': (
        dict(sample=torch.rand(2, 1, 16, 16)),
        'sample: expected a batch with which the teacher can be called, got RuntimeError.* in conv1; pass what',
    ),
    'misspelt loss': (
        dict(losses=one(type='L2Los')),
        r"losses.loss_s2.type: .*did you mean .*'L2Loss'",
    ),
    'unknown argument': (dict(losses=one(wieght=2)), 'losses.loss_s2.wieght: expected an argument of L2Loss'),
    'losses that are no dict': (dict(losses=['L2Loss']), 'losses: expected a dict by name'),
    'no losses': (dict(losses={}), 'losses: expected at least one loss'),
    'config for a student': (dict(student=dict(type='ResNet')), r'student: expected a torch.nn.Module, got a dict'),
    'teacher that is the student': (
        dict(student=SHARED, teacher=SHARED),
        r'teacher: expected a model with weights of its own.*copy.deepcopy\(student\)',
    ),
    'mode of the teacher': (dict(teacher_forward=dict(mode='loss')), 'teacher_forward.mode: expected one of'),
    'unknown switch': (dict(teacher_forward=dict(fold=False)), 'teacher_forward.fold: .*fold_bn'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_refused(name):
    given, message = REFUSED[name]
    arguments = dict(student=ResNet(4), teacher=ResNet(6), losses=losses(), sample=IMAGES)
    arguments |= given
    models = [model for model in (arguments['student'], arguments['teacher']) if isinstance(model, nn.Module)]
    before = [switches(model) for model in models]
    with pytest.raises(UserError) as refusal:
        Distiller(**arguments)
    assert re.search(message, str(refusal.value)), refusal.value
    assert 'distill_losses' not in str(refusal.value)
    assert [switches(model) for model in models] == before
    assert not any(map(count_hooks, models))


def switches(model):
    return [
        *((module.training, getattr(module, 'inplace', None)) for module in model.modules()),
        *(weight.requires_grad for weight in model.parameters()),
    ]


def test_all_mistakes_are_reported_at_once():
    config = one(student='layer3') | dict(loss_kl=dict(type='KLDivergence', student='fc', teacher='head'))
    with pytest.raises(UserError) as refusal:
        Distiller(ResNet(4), ResNet(6), config, sample=IMAGES)
    assert [fault.where for fault in refusal.value.faults] == ['losses.loss_s2.student', 'losses.loss_kl.teacher']


def test_only_recorders_of_gradients_are_blamed_for_it():
    config = losses() | dict(
        loss_grad=dict(
            type='L2Loss',
            student=dict(type='ModuleOutputGrads', source='fc'),
            teacher=dict(type='ModuleOutputGrads', source='fc'),
        )
    )
    with pytest.raises(UserError) as refusal:
        Distiller(ResNet(4), ResNet(6), config, sample=IMAGES)
    wheres = [fault.where for fault in refusal.value.faults]
    assert wheres == ['losses.loss_grad.student.type', 'losses.loss_grad.teacher.type']


def test_the_losses_need_a_recorded_forward_for_each_call():
    student, teacher = ResNet(4), ResNet(6)
    distiller = Distiller(student, teacher, losses(), sample=IMAGES)
    with pytest.raises(UserError, match='recorded forward of the student, got none; call the student inside'):
        distiller(IMAGES)
    with distiller.record():
        student(IMAGES)
    distiller(IMAGES)
    with pytest.raises(UserError, match='recorded forward'):
        distiller(IMAGES)


def test_another_batch_for_the_teacher():
    student, teacher = ResNet(4), ResNet(6)
    distiller = Distiller(student, teacher, losses(), sample=IMAGES)
    with distiller.record():
        student(IMAGES)
    with pytest.raises(UserError, match=r'^losses\.loss_kl'):
        distiller(IMAGES[:3])


def test_a_student_that_ran_twice():
    student, teacher = ResNet(4), ResNet(6)
    distiller = Distiller(student, teacher, losses(), sample=IMAGES)
    with distiller.record():
        student(IMAGES)
        student(IMAGES)
    with pytest.raises(UserError, match='2 calls'):
        distiller(IMAGES)


def test_a_closed_distiller():
    distiller = Distiller(ResNet(4), ResNet(6), losses(), sample=IMAGES)
    distiller.close()
    with pytest.raises(UserError, match='one that was closed'), distiller.record():
        pass
    with pytest.raises(UserError, match='one that was closed'):
        distiller(IMAGES)


def test_an_addition_in_place_after_a_source_is_a_warning():
    config = dict(loss_bn=dict(type='L2Loss', student='layer1.0.bn2', teacher='layer1.0.bn2', connector='auto'))
    with pytest.warns(UserWarning, match=r"^losses\.loss_bn\.student: .*'layer1.0.bn2', which is overwritten later"):
        Distiller(ResNet(4), ResNet(6), config, sample=IMAGES)


def test_a_copy_of_the_student_may_teach_it():
    student = ResNet(4)
    with Distiller(student, copy.deepcopy(student), losses(), sample=IMAGES) as distiller:
        assert list(distiller.parameters()) == []


def test_other_names_of_the_package():
    with pytest.raises(AttributeError, match='Distilller'):
        kd_plugins.Distilller  # noqa: B018
