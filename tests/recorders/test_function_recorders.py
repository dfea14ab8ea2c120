import copy
import pickle
import sys

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from torch import nn
from torch.nn.functional import relu as imported_relu

from kd_plugins.build import Declared, build_component
from kd_plugins.errors import UserError
from kd_plugins.recorders import FunctionInputs, FunctionOutputs, RecorderSet
from kd_plugins.registry import TASK_UTILS

KINDS = (FunctionOutputs, FunctionInputs)
HERE = __name__


def scale(x, factor=2, *, shift=0, **others):
    return x * factor + shift


def fail(x):
    raise ZeroDivisionError


class Model(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return scale(scale(x, self.factor), factor=self.factor)


NOT_A_FUNCTION = 3
ORIGINALS = dict(scale=scale, fail=fail, imported_relu=imported_relu)


@pytest.fixture(autouse=True)
def _nothing_stays_patched():
    relu = F.relu
    yield
    assert {name: globals()[name] for name in ORIGINALS} == ORIGINALS
    assert F.relu is relu


def attached(recorder, model=None):
    recorder.attach(model or Model(2))
    return recorder


def test_outputs_one_per_call():
    recorder = attached(FunctionOutputs(f'{HERE}.scale'))
    with recorder:
        output = Model(3)(1)
    assert recorder.pop() == [3, output] == [3, 9]
    assert recorder.pop() == []


def test_inputs_are_a_tuple_a_call_in_the_order_of_the_signature():
    recorder = attached(FunctionInputs(f'{HERE}.scale'))
    with recorder:
        scale(1)
        scale(1, 5)
        scale(shift=4, factor=5, x=1)
        scale(1, shift=4)
        scale(1, unknown=6)
    assert recorder.pop() == [(1,), (1, 5), (1, 5, 4), (1, 4), (1,)]


def test_records_are_not_detached():
    recorder = attached(FunctionOutputs('torch.nn.functional.relu'))
    with recorder:
        output = nn.ReLU()(torch.ones(2, requires_grad=True))
    (record,) = recorder.pop()
    assert record is output
    assert record.requires_grad


def test_the_place_of_the_caller_is_patched_and_no_other():
    here, there = (
        attached(FunctionOutputs(f'{HERE}.imported_relu')),
        attached(FunctionOutputs('torch.nn.functional.relu')),
    )
    with here, there:
        imported_relu(torch.ones(1))
        F.relu(torch.ones(2))
    assert [record.shape for record in here.pop()] == [(1,)]
    assert [record.shape for record in there.pop()] == [(2,)]


def test_it_is_patched_only_while_entered():
    recorder = attached(FunctionOutputs(f'{HERE}.scale'))
    assert scale is ORIGINALS['scale']
    with recorder:
        assert scale is not ORIGINALS['scale']
        assert (scale.__name__, scale.__module__) == ('scale', HERE)
    assert scale is ORIGINALS['scale']
    scale(1)
    assert recorder.pop() == []


def test_entering_again_forgets_the_step_before():
    recorder = attached(FunctionOutputs(f'{HERE}.scale'))
    for x in range(3):
        with recorder:
            scale(x)
    assert recorder.pop() == [4]


@pytest.mark.parametrize('kind', KINDS)
def test_an_exception_restores_and_leaves_no_records(kind):
    recorders = [attached(kind(f'{HERE}.{name}')) for name in ('scale', 'fail')]
    with pytest.raises(ZeroDivisionError), recorders[0], recorders[1]:  # noqa: PT012
        scale(1)
        fail(1)
    assert [recorder.pop() for recorder in recorders] == [[], []]
    assert globals()['scale'] is ORIGINALS['scale']
    assert globals()['fail'] is ORIGINALS['fail']


def test_an_exception_that_the_model_handles_leaves_the_other_calls():
    recorder = attached(FunctionInputs(f'{HERE}.scale'))
    with recorder:
        scale(1)
        with pytest.raises(TypeError):
            scale()
        scale(2)
    assert recorder.pop() == [(1,), (2,)]


def test_entered_twice_it_is_restored():
    recorder = attached(FunctionOutputs(f'{HERE}.scale'))
    with recorder, recorder:
        scale(1)
    assert scale is ORIGINALS['scale']


@pytest.mark.parametrize('kind', KINDS)
def test_detach_leaves_nothing_patched(kind):
    recorder = attached(kind(f'{HERE}.scale'))
    with recorder:
        recorder.detach()
        recorder.detach()
        assert scale is ORIGINALS['scale']
    with recorder:
        assert scale is ORIGINALS['scale']
        scale(1)
    assert recorder.pop() == []


def test_a_function_that_a_module_makes_when_asked_is_taken_away_again(monkeypatch):
    module = type(nn)('made_on_demand')
    module.__getattr__ = {'lazy': scale}.__getitem__
    monkeypatch.setitem(sys.modules, 'made_on_demand', module)
    recorder = attached(FunctionOutputs('made_on_demand.lazy'))
    with recorder:
        module.lazy(1)
    assert recorder.pop() == [2]
    assert 'lazy' not in vars(module)


def test_copies_and_pickles():
    recorder = attached(FunctionOutputs(f'{HERE}.scale'))
    for other in (copy.deepcopy(recorder), pickle.loads(pickle.dumps(recorder))):
        with other:
            scale(1)
        assert other.pop() == [2]
    assert recorder.pop() == []


class TestInASet:
    @staticmethod
    def make(**configs):
        recorders = RecorderSet({name: Declared(config, f'recorders.{name}') for name, config in configs.items()})
        recorders.attach(Model(2))
        return recorders

    def test_several_of_one_function(self):
        source = f'{HERE}.scale'
        recorders = self.make(
            a=dict(type='FunctionOutputs', source=source),
            b=dict(type='FunctionInputs', source=source),
            c=dict(type='FunctionOutputs', source=source),
        )
        for _ in range(2):
            with recorders:
                Model(2)(1)
            assert recorders.pop() == dict(a=[2, 4], b=[(1, 2), (2, 2)], c=[2, 4])
            assert scale is ORIGINALS['scale']
        with pytest.raises(TypeError), recorders:
            scale()
        assert scale is ORIGINALS['scale']
        with recorders:
            recorders.detach()
            assert scale is ORIGINALS['scale']

    def test_a_recorder_that_cannot_be_entered_leaves_nothing_patched(self, monkeypatch):
        recorders = self.make(
            a=dict(type='FunctionOutputs', source=f'{HERE}.scale'),
            b=dict(type='FunctionOutputs', source=f'{HERE}.fail'),
        )
        with monkeypatch.context() as patch:
            patch.delitem(globals(), 'fail')
            with pytest.raises(UserError), recorders:
                pass
        assert scale is ORIGINALS['scale']
        assert not recorders.recorders['a'].recording

    def test_each_model_has_its_own_calls_alone(self):
        student, teacher = Model(2), Model(3)
        config = dict(calls=dict(type='FunctionInputs', source=f'{HERE}.scale'))
        own, theirs = self.make(**config), self.make(**config)
        with theirs:
            teacher(1)
        with own:
            student(1)
        assert own.pop() == dict(calls=[(1, 2), (2, 2)])
        assert theirs.pop() == dict(calls=[(1, 3), (3, 3)])


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    ('source', 'expected', 'got', 'advice'),
    [
        (f'{HERE}.scael', f'a Python function of {HERE}', "'scael'", "did you mean 'scale'"),
        (f'{HERE}.NOT_A_FUNCTION', f'a Python function of {HERE}', "'NOT_A_FUNCTION', a int", ''),
        (f'{HERE}.Model', f'a Python function of {HERE}', "'Model', a type", ''),
        ('torch.nn.functional.conv2d', 'a Python function of', "'conv2d', a builtin_function_or_method", ''),
        ('torch.nn.functionl.relu', 'a module of torch.nn', "'functionl'", "did you mean 'functional'"),
        ('troch.nn.functional.relu', 'an installed package', "'troch'", "'torch'"),
        ('torch.nn.Linear.forward', 'a module of torch.nn', "the class 'Linear'", 'MethodOutputs'),
        (f'{HERE}.deeper.relu', f'a module of {HERE}', "'deeper'", ''),
        ('scale', 'a path of the form package.module.function', "'scale'", 'write the whole path'),
        ('torch..relu', 'a path of the form package.module.function', "'torch..relu'", ''),
        (None, 'a path of the form package.module.function', 'None', ''),
    ],
)
def test_a_source_that_is_no_function(kind, source, expected, got, advice):
    with pytest.raises(UserError) as caught:
        kind(source).attach(Model(2))
    (fault,) = caught.value.faults
    assert fault.where == 'source'
    assert fault.expected.startswith(expected)
    assert fault.got == got
    assert advice in fault.advice


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (
            'import not_there_at_all',
            "'broken', which fails with ModuleNotFoundError: No module named 'not_there_at_all'",
        ),
        ('1 / 0', "'broken', which fails with ZeroDivisionError"),
        ('def', "'broken', which fails with SyntaxError"),
    ],
)
def test_a_module_that_cannot_be_imported(tmp_path, monkeypatch, text, message):
    (tmp_path / 'broken.py').write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, 'broken', raising=False)
    with pytest.raises(UserError) as caught:
        FunctionOutputs('broken.function').attach(Model(2))
    assert caught.value.faults[0].got.startswith(message)


@pytest.mark.parametrize('kind', KINDS)
def test_type_names(kind):
    for name in (kind.__name__, f'{kind.__name__}Recorder'):
        assert type(build_component(TASK_UTILS, dict(type=name, source='a.b'), 'here')) is kind
        assert type(MMENGINE_TASK_UTILS.build(dict(type=f'kd_plugins.{name}', source='a.b'))) is kind
