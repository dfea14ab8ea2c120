import random

import pytest
from torch import nn

from kd_plugins.build import Declared
from kd_plugins.deliveries import DeliverySet, FunctionOutputsDelivery, MethodOutputsDelivery
from kd_plugins.errors import UserError, drafting
from kd_plugins.recorders import RecorderSet

HERE = __name__


def draw():
    return random.random()


class Thing:
    def draw(self):
        return random.random()


ORIGINALS = draw, Thing.draw
# as MMRazor's configs have them
CONFIG = dict(
    number=dict(type='FunctionOutputs', max_keep_data=1, func_path=f'{HERE}.draw'),
    of_thing=dict(type='MethodOutputs', max_keep_data=2, method_path=f'{HERE}.Thing.draw'),
)


@pytest.fixture(autouse=True)
def _nothing_stays_patched():
    yield
    assert (draw, Thing.draw) == ORIGINALS


def make(configs=CONFIG):
    return DeliverySet({name: Declared(config, f'distill_deliveries.{name}') for name, config in configs.items()})


def forward():
    return draw(), Thing().draw(), Thing().draw()


def test_mmrazors_names_are_deliveries_not_recorders():
    kinds = [FunctionOutputsDelivery, MethodOutputsDelivery]
    assert [type(delivery) for delivery in make().deliveries.values()] == kinds
    full = {name: {**config, 'type': f'kd_plugins.{config["type"]}Delivery'} for name, config in CONFIG.items()}
    assert [type(delivery) for delivery in make(full).deliveries.values()] == kinds
    scoped = {name: {**config, 'type': f'kd_plugins.{config["type"]}'} for name, config in CONFIG.items()}
    assert [type(delivery) for delivery in make(scoped).deliveries.values()] == kinds
    by_class = {'a': dict(type=FunctionOutputsDelivery, func_path=f'{HERE}.draw')}
    assert type(make(by_class).deliveries['a']) is FunctionOutputsDelivery
    assert CONFIG['number']['type'] == 'FunctionOutputs'


def test_all_are_switched_and_entered_together():
    deliveries = make()
    assert deliveries.override_data is False
    for _ in range(3):
        deliveries.override_data = False
        with deliveries:
            theirs = forward()
        deliveries.override_data = True
        with deliveries:
            own = forward()
        assert own == theirs
    assert len(set(theirs)) == 3


def test_an_exception_empties_all():
    deliveries = make()
    with pytest.raises(ZeroDivisionError), deliveries:  # noqa: PT012
        forward()
        raise ZeroDivisionError
    deliveries.override_data = True
    for call in (lambda: draw(), lambda: Thing().draw()):
        with pytest.raises(UserError), deliveries:
            call()


def test_clear():
    deliveries = make()
    with deliveries:
        forward()
    deliveries.clear()
    assert not any(delivery._queue for delivery in deliveries.deliveries.values())


def test_one_that_cannot_be_entered_leaves_nothing_patched(monkeypatch):
    deliveries = make()
    with monkeypatch.context() as patch:
        patch.delattr(Thing, 'draw')
        with pytest.raises(UserError), deliveries:
            pass
    assert draw is ORIGINALS[0]


def test_a_forward_that_does_not_fit_names_the_config():
    deliveries = make()
    with pytest.raises(UserError) as caught, deliveries:
        [forward() for _ in range(2)]
    assert caught.value.faults[0].where == 'distill_deliveries.number.max_keep_data'
    deliveries.override_data = True
    with pytest.raises(UserError) as caught, deliveries:
        forward()
    assert caught.value.faults[0].where == 'distill_deliveries.number'


def test_student_and_teacher_record_the_same_numbers():
    deliveries = make()
    sides = []
    for override in (False, True):
        recorders = RecorderSet(
            dict(
                number=Declared(dict(type='FunctionOutputs', source=f'{HERE}.draw'), 'a'),
                of_thing=Declared(dict(type='MethodOutputs', source=f'{HERE}.Thing.draw'), 'b'),
            )
        )
        recorders.attach(nn.Identity())
        deliveries.override_data = override
        with deliveries, recorders:
            forward()
        sides.append(recorders.pop())
    assert sides[0] == sides[1]
    assert [len(calls) for calls in sides[0].values()] == [1, 2]


def test_empty_is_no_delivery():
    deliveries = make({})
    deliveries.override_data = True
    with deliveries:
        assert forward() != forward()


def test_all_faults_at_once():
    configs = dict(
        a=dict(type='FunctionOutput', func_path=f'{HERE}.draw'),
        b=dict(type='FunctionOutputs', func_pth=f'{HERE}.draw'),
        c=dict(type='MethodOutputs', method_path=f'{HERE}.Thing.drwa'),
        d=dict(type='FunctionOutputs', func_path=f'{HERE}.draw', max_keep_data=0),
        e=dict(type='ModuleOutputs', source='fc'),
        f='draw',
    )
    with pytest.raises(UserError) as caught:
        make(configs)
    faults = {fault.where: fault for fault in caught.value.faults}
    assert list(faults) == [
        'distill_deliveries.a.type',
        'distill_deliveries.b.func_pth',
        'distill_deliveries.b',
        'distill_deliveries.c.method_path',
        'distill_deliveries.d.max_keep_data',
        'distill_deliveries.e.type',
        'distill_deliveries.f',
    ]
    assert "did you mean 'func_path'" in faults['distill_deliveries.b.func_pth'].advice
    assert faults['distill_deliveries.e.type'].got == 'a ModuleOutputs'


def test_while_drafting_the_good_ones_work_and_the_faults_are_kept():
    with drafting():
        deliveries = make({**CONFIG, 'a': dict(type='FunctionOutputs', func_path=f'{HERE}.drwa')})
    assert [fault.where for fault in deliveries.faults] == ['distill_deliveries.a.func_path']
    assert list(deliveries.deliveries) == list(CONFIG)
    with deliveries:
        theirs = forward()
    deliveries.override_data = True
    with deliveries:
        assert forward() == theirs
