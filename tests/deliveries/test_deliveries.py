import copy
import itertools
import pickle

import pytest
import torch
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from torch import nn

from kd_plugins.build import build_component
from kd_plugins.deliveries import FunctionOutputsDelivery, MethodOutputsDelivery
from kd_plugins.errors import UserError
from kd_plugins.recorders import FunctionOutputs, MethodOutputs
from kd_plugins.registry import TASK_UTILS

HERE = __name__
COUNTER = itertools.count()


def draw():
    """Another number each time."""
    return next(COUNTER)


def fail():
    raise ZeroDivisionError


class Base:
    def draw(self):
        return next(COUNTER)


class Thing(Base):
    pass


ORIGINALS = draw, fail


def draw_by_method():
    return Thing().draw()


KINDS = {
    'function': (lambda **options: FunctionOutputsDelivery(f'{HERE}.draw', **options), lambda: draw()),
    'method': (lambda **options: MethodOutputsDelivery(f'{HERE}.Thing.draw', **options), draw_by_method),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture(autouse=True)
def _nothing_stays_patched():
    yield
    assert (draw, fail) == ORIGINALS
    assert 'draw' not in vars(Thing)


def calls(call, count):
    return [call() for _ in range(count)]


def forwards(delivery, call, teacher, student=None):
    """What so many calls give in the teacher's forward and in the student's."""
    delivery.override_data = False
    with delivery:
        theirs = calls(call, teacher)
    delivery.override_data = True
    with delivery:
        return theirs, calls(call, teacher if student is None else student)


@pytest.mark.parametrize('count', [1, 3])
def test_the_students_calls_return_what_the_teachers_did_in_their_order(kind, count):
    make, call = kind
    delivery = make(max_keep_data=count)
    for _ in range(2):
        theirs, own = forwards(delivery, call, count)
        assert own == theirs
        assert len(set(theirs)) == count
    assert call() == next(COUNTER) - 1


def test_one_is_kept_by_default(kind):
    make, _ = kind
    assert make().max_keep_data == 1


def test_the_object_itself_is_delivered_with_its_graph():
    delivery = MethodOutputsDelivery('torch.nn.Linear.forward')
    teacher, student = nn.Linear(3, 2), nn.Linear(3, 2)
    with delivery:
        theirs = teacher(torch.ones(1, 3))
    delivery.override_data = True
    with delivery:
        own = student(torch.zeros(1, 3))
    assert own is theirs
    own.sum().backward()
    assert teacher.weight.grad is not None
    assert student.weight.grad is None


def test_none_is_a_result_too(monkeypatch):
    monkeypatch.setitem(globals(), 'silent', lambda: None)
    delivery = FunctionOutputsDelivery(f'{HERE}.silent')
    assert forwards(delivery, lambda: globals()['silent'](), 1) == ([None], [None])


def test_more_calls_of_the_teacher_than_are_kept_are_refused(kind):
    make, call = kind
    delivery = make(max_keep_data=2)
    with pytest.raises(UserError, match=r'max_keep_data: expected room .*got 2 of .*draw.*at least 3'), delivery:
        calls(call, 3)
    assert forwards(delivery, call, 2)[0]


def test_more_calls_of_the_student_than_of_the_teacher_are_refused(kind):
    make, call = kind
    delivery = make(max_keep_data=2)
    with pytest.raises(UserError, match=r'expected a result of the teacher for each .*draw.*as often'):
        forwards(delivery, call, 1, student=2)
    with pytest.raises(UserError, match='expected a result of the teacher'):
        forwards(delivery, call, 0, student=1)


def test_fewer_calls_of_the_student_leave_nothing_for_the_next_step(kind):
    make, call = kind
    delivery = make(max_keep_data=2)
    forwards(delivery, call, 2, student=1)
    theirs, own = forwards(delivery, call, 1)
    assert own == theirs


def test_a_teacher_without_student_leaves_nothing_for_the_next_step(kind):
    make, call = kind
    delivery = make()
    for _ in range(2):
        with delivery:
            last = call()
    delivery.override_data = True
    with delivery:
        assert call() == last


@pytest.mark.parametrize('override', [False, True])
def test_an_exception_restores_and_empties(kind, override):
    make, call = kind
    delivery = make(max_keep_data=2)
    with delivery:
        calls(call, 2)
    delivery.override_data = override
    with pytest.raises(ZeroDivisionError), delivery:  # noqa: PT012
        call()
        fail()
    delivery.override_data = True
    with pytest.raises(UserError), delivery:
        call()


def test_a_function_that_fails_delivers_nothing():
    delivery = FunctionOutputsDelivery(f'{HERE}.fail')
    with pytest.raises(ZeroDivisionError), delivery:
        fail()
    with delivery, pytest.raises(ZeroDivisionError):
        fail()
    assert not delivery._queue


def test_clear(kind):
    make, call = kind
    delivery = make()
    with delivery:
        call()
    delivery.clear()
    delivery.override_data = True
    with pytest.raises(UserError), delivery:
        call()


def test_outside_the_function_is_its_own(kind):
    make, call = kind
    delivery = make()
    with delivery:
        first = call()
    delivery.override_data = True
    assert call() == first + 1


def test_recorders_inside_record_what_is_delivered(kind):
    make, call = kind
    delivery = make(max_keep_data=2)
    source = delivery.path
    recorder = (MethodOutputs if 'Thing' in source else FunctionOutputs)(source)
    recorder.attach(nn.Identity())
    records = []
    for override in (False, True):
        delivery.override_data = override
        with delivery, recorder:
            calls(call, 2)
        records.append(recorder.pop())
    assert records[0] == records[1]
    assert len(records[0]) == 2


def test_two_deliveries_of_one_function(kind):
    make, call = kind
    outer, inner = make(), make()
    with outer, inner:
        theirs = call()
    outer.override_data = inner.override_data = True
    with outer, inner:
        assert call() == theirs


def test_copies_and_pickles(kind):
    delivery = FunctionOutputsDelivery(f'{HERE}.draw', max_keep_data=2)
    for other in (copy.deepcopy(delivery), pickle.loads(pickle.dumps(delivery))):
        theirs, own = forwards(other, lambda: draw(), 2)
        assert own == theirs
    with delivery:
        theirs = draw()
    other = copy.deepcopy(delivery)
    other.override_data = True
    with other:
        assert draw() == theirs


@pytest.mark.parametrize('value', [0, -1, True, 1.0, None, '1'])
def test_a_number_of_results_that_is_none(kind, value):
    make, _ = kind
    with pytest.raises(UserError, match='max_keep_data: expected a whole number from 1 on'):
        make(max_keep_data=value)


@pytest.mark.parametrize(
    ('cls', 'path', 'where', 'message'),
    [
        (FunctionOutputsDelivery, f'{HERE}.drwa', 'func_path', "did you mean 'draw'"),
        (FunctionOutputsDelivery, 'draw', 'func_path', 'package.module.function'),
        (FunctionOutputsDelivery, None, 'func_path', 'package.module.function'),
        (FunctionOutputsDelivery, 'torch.nn.Linear.forward', 'func_path', 'MethodOutputs'),
        (FunctionOutputsDelivery, 'troch.nn.relu', 'func_path', "'torch'"),
        (MethodOutputsDelivery, f'{HERE}.Thing.drwa', 'method_path', "did you mean 'draw'"),
        (MethodOutputsDelivery, f'{HERE}.Thign.draw', 'method_path', "did you mean 'Thing'"),
        (MethodOutputsDelivery, 'torch.nn.functional.relu', 'method_path', 'FunctionOutputs'),
        (MethodOutputsDelivery, 'Thing.draw', 'method_path', 'package.module.Class.method'),
    ],
)
def test_a_path_that_leads_nowhere(cls, path, where, message):
    with pytest.raises(UserError) as caught:
        cls(path)
    (fault,) = caught.value.faults
    assert fault.where == where
    assert message in str(fault)


def test_mmrazors_order_of_arguments():
    assert FunctionOutputsDelivery(f'{HERE}.draw', 3).max_keep_data == 3
    assert MethodOutputsDelivery(f'{HERE}.Thing.draw', 3).max_keep_data == 3


@pytest.mark.parametrize(
    ('cls', 'key', 'path'),
    [
        (FunctionOutputsDelivery, 'func_path', f'{HERE}.draw'),
        (MethodOutputsDelivery, 'method_path', f'{HERE}.Thing.draw'),
    ],
)
def test_type_names(cls, key, path):
    config = {'type': cls.__name__, key: path, 'max_keep_data': 1}
    assert type(build_component(TASK_UTILS, config, 'here')) is cls
    assert type(MMENGINE_TASK_UTILS.build({**config, 'type': f'kd_plugins.{cls.__name__}'})) is cls
