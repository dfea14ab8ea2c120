import copy
import pickle

import pytest
import torch
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from torch import nn
from toy import ToyClassifier

from kd_plugins.build import Declared, build_component
from kd_plugins.errors import UserError
from kd_plugins.recorders import MethodInputs, MethodOutputs, RecorderSet
from kd_plugins.registry import TASK_UTILS

KINDS = (MethodOutputs, MethodInputs)
HERE = __name__


class Base:
    def inherited(self, x):
        return x - 1


class Thing(Base):
    def __init__(self, factor=2):
        self.factor = factor

    def scale(self, x, shift=0):
        return x * self.factor + shift

    def fail(self):
        raise ZeroDivisionError

    @staticmethod
    def static(x):
        return x

    @classmethod
    def of_class(cls, x):
        return x

    @property
    def prop(self):
        return 1


class Other(Base):
    pass


BEFORE = {cls: dict(vars(cls)) for cls in (Base, Thing, Other)}


@pytest.fixture(autouse=True)
def _nothing_stays_patched():
    yield
    assert {cls: dict(vars(cls)) for cls in BEFORE} == BEFORE


def attached(recorder):
    recorder.attach(nn.Identity())
    return recorder


def test_outputs_of_all_objects_one_per_call():
    recorder = attached(MethodOutputs(f'{HERE}.Thing.scale'))
    with recorder:
        Thing(2).scale(1)
        Thing(3).scale(1, shift=1)
    assert recorder.pop() == [2, 4]
    assert recorder.pop() == []


def test_inputs_are_without_self():
    recorder = attached(MethodInputs(f'{HERE}.Thing.scale'))
    with recorder:
        Thing().scale(1)
        Thing().scale(1, 2)
        Thing().scale(shift=2, x=1)
    assert recorder.pop() == [(1,), (1, 2), (1, 2)]


def test_forward_of_a_module():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    outputs, inputs = (
        attached(MethodOutputs('torch.nn.Linear.forward')),
        attached(MethodInputs('torch.nn.Linear.forward')),
    )
    images = torch.randn(2, 3)
    with outputs, inputs:
        output = model(images)
    assert [record.shape for record in outputs.pop()] == [(2, 4), (2, 2)]
    assert inputs.pop()[0][0] is images
    assert torch.equal(model(images), output)


def test_an_inherited_method_is_recorded_for_its_class_alone():
    recorder = attached(MethodOutputs(f'{HERE}.Thing.inherited'))
    with recorder:
        Thing().inherited(1)
        Other().inherited(5)
        assert 'inherited' in vars(Thing)
    assert recorder.pop() == [0]
    assert 'inherited' not in vars(Thing)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name', ['scale', 'inherited'])
def test_an_exception_restores_and_leaves_no_records(kind, name):
    recorder = attached(kind(f'{HERE}.Thing.{name}'))
    with pytest.raises(ZeroDivisionError), recorder:  # noqa: PT012
        getattr(Thing(), name)(1)
        Thing().fail()
    assert recorder.pop() == []
    assert dict(vars(Thing)) == BEFORE[Thing]


@pytest.mark.parametrize('name', ['scale', 'inherited'])
def test_detach_leaves_nothing_patched(name):
    recorder = attached(MethodOutputs(f'{HERE}.Thing.{name}'))
    with recorder:
        recorder.detach()
        recorder.detach()
        assert dict(vars(Thing)) == BEFORE[Thing]
    with recorder:
        getattr(Thing(), name)(1)
    assert recorder.pop() == []


def test_copies_and_pickles():
    recorder = attached(MethodOutputs(f'{HERE}.Thing.scale'))
    for other in (copy.deepcopy(recorder), pickle.loads(pickle.dumps(recorder))):
        with other:
            Thing().scale(1)
        assert other.pop() == [2]


class TestInASet:
    @staticmethod
    def make(model, **sources):
        recorders = RecorderSet(
            {name: Declared(dict(type=kind, source=source), name) for name, (kind, source) in sources.items()}
        )
        recorders.attach(model)
        return recorders

    @pytest.mark.parametrize('name', ['scale', 'inherited'])
    def test_several_of_one_method(self, name):
        source = f'{HERE}.Thing.{name}'
        recorders = self.make(
            nn.Identity(), a=('MethodOutputs', source), b=('MethodInputs', source), c=('MethodOutputs', source)
        )
        for _ in range(2):
            with recorders:
                output = getattr(Thing(), name)(1)
            assert recorders.pop() == dict(a=[output], b=[(1,)], c=[output])
            assert dict(vars(Thing)) == BEFORE[Thing]
        with pytest.raises(ZeroDivisionError), recorders:
            Thing().fail()
        assert dict(vars(Thing)) == BEFORE[Thing]

    def test_two_models_of_one_class_have_their_own_calls_alone(self):
        student, teacher = ToyClassifier(4), ToyClassifier(6)
        source = 'torch.nn.Conv2d.forward'
        own = self.make(student, conv=('MethodOutputs', source), given=('MethodInputs', source))
        theirs = self.make(teacher, conv=('MethodOutputs', source), given=('MethodInputs', source))
        images = torch.randn(2, 3, 8, 8)
        with theirs:
            teacher(images)
        with own:
            student(images)
        records = own.pop(), theirs.pop()
        assert [[x.shape[1] for x in found['conv']] for found in records] == [[4, 4], [6, 6]]
        assert [[len(x) for x in found['given']] for found in records] == [[1, 1], [1, 1]]


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    ('source', 'expected', 'got', 'advice'),
    [
        (f'{HERE}.Thing.scael', f'a Python method of {HERE}.Thing that takes self', "'scael'", "did you mean 'scale'"),
        (f'{HERE}.Thing.inherit', f'a Python method of {HERE}.Thing', "'inherit'", "'inherited'"),
        (f'{HERE}.Thing.static', f'a Python method of {HERE}.Thing', "'static', a staticmethod", ''),
        (f'{HERE}.Thing.of_class', f'a Python method of {HERE}.Thing', "'of_class', a classmethod", ''),
        (f'{HERE}.Thing.prop', f'a Python method of {HERE}.Thing', "'prop', a property", ''),
        (f'{HERE}.Thign.scale', f'a class of {HERE}', "'Thign'", "did you mean 'Thing'"),
        (f'{HERE}.KINDS.scale', f'a class of {HERE}', "'KINDS', a tuple", ''),
        ('torch.nn.functional.relu', 'a class of torch.nn', "'functional', a module", 'FunctionOutputs'),
        ('torch.optmi.SGD.step', 'a module of torch', "'optmi'", "'optim'"),
        ('Linear.forward', 'a path of the form package.module.Class.method', "'Linear.forward'", ''),
    ],
)
def test_a_source_that_is_no_method(kind, source, expected, got, advice):
    with pytest.raises(UserError) as caught:
        kind(source).attach(nn.Identity())
    (fault,) = caught.value.faults
    assert fault.where == 'source'
    assert fault.expected.startswith(expected)
    assert fault.got == got
    assert advice in fault.advice


@pytest.mark.parametrize('kind', KINDS)
def test_type_names(kind):
    for name in (kind.__name__, f'{kind.__name__}Recorder'):
        assert type(build_component(TASK_UTILS, dict(type=name, source='a.B.c'), 'here')) is kind
        assert type(MMENGINE_TASK_UTILS.build(dict(type=f'kd_plugins.{name}', source='a.B.c'))) is kind
