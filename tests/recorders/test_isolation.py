"""What a student's recorders see of the teacher's calls, and the reverse: nothing."""

import pytest
import torch
from torch import nn
from toy import ToyClassifier, algorithm_config, toy_batch

from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.build import Declared
from kd_plugins.memory_format import to_channels_last
from kd_plugins.recorders import RecorderSet

SOURCES = dict(
    method=dict(type='MethodOutputs', source='toy.ToyClassifier.forward'),
    inherited=dict(type='MethodOutputs', source='torch.nn.Conv2d.forward'),
    given=dict(type='MethodInputs', source='torch.nn.Conv2d.forward'),
    function=dict(type='FunctionOutputs', source='torch.nn.functional.relu'),
    arguments=dict(type='FunctionInputs', source='torch.nn.functional.relu'),
    module=dict(type='ModuleOutputs', source='relu'),
    inputs=dict(type='ModuleInputs', source='relu'),
    weight=dict(type='Parameter', source='conv1.weight'),
)
CHANNELS = dict(own=4, theirs=6)


@pytest.fixture(autouse=True)
def _nothing_stays_patched():
    before = ToyClassifier.forward, nn.Conv2d.forward, nn.functional.relu
    yield
    assert (ToyClassifier.forward, nn.Conv2d.forward, nn.functional.relu) == before


def attached(model):
    recorders = RecorderSet({name: Declared(config, name) for name, config in SOURCES.items()})
    recorders.attach(model)
    return recorders


def pair():
    """Two models of one class, and the recorders of each."""
    models = {name: ToyClassifier(channels) for name, channels in CHANNELS.items()}
    return models, {name: attached(model) for name, model in models.items()}


def channels(records):
    """By recorder, the number of channels of each call's record."""
    found = {}
    for name, calls in records.items():
        values = [call[0] if isinstance(call, tuple) else call for call in calls]
        found[name] = [value.shape[0 if name == 'weight' else 1] for value in values]
    return found


def seen_by(width):
    """What the recorders of a model of that width see in one forward."""
    return dict(
        method=[3],
        inherited=[width, width],
        given=[3, width],
        function=[width, width],
        arguments=[width, width],
        module=[width, width],
        inputs=[width, width],
        weight=[width],
    )


@pytest.mark.parametrize('order', [('theirs', 'own'), ('own', 'theirs')])
def test_one_after_the_other(order):
    models, recorders = pair()
    images = toy_batch()['inputs']
    for name in order:
        with recorders[name]:
            models[name](images)
    assert {name: channels(found.pop()) for name, found in recorders.items()} == {
        name: seen_by(width) for name, width in CHANNELS.items()
    }


def test_the_other_model_outside_of_the_context():
    models, recorders = pair()
    images = toy_batch()['inputs']
    models['theirs'](images)
    with recorders['own']:
        models['own'](images)
    models['theirs'](images)
    assert channels(recorders['own'].pop()) == seen_by(4)
    assert all(calls == [] for calls in recorders['theirs'].pop().values())


def test_an_exception_in_one_model_leaves_the_other_its_own():
    models, recorders = pair()
    images = toy_batch()['inputs']
    with pytest.raises(RuntimeError), recorders['theirs']:
        models['theirs'](images[:, :2])
    with recorders['own']:
        models['own'](images)
    assert all(calls == [] for calls in recorders['theirs'].pop().values())
    assert channels(recorders['own'].pop()) == seen_by(4)


def test_both_sets_on_one_model_at_once():
    model = ToyClassifier()
    own, theirs = attached(model), attached(model)
    for _ in range(2):
        with theirs, own:
            model(toy_batch()['inputs'])
        records = own.pop(), theirs.pop()
        assert channels(records[0]) == channels(records[1]) == seen_by(4)
        for name in SOURCES:
            for mine, other in zip(records[0][name], records[1][name], strict=True):
                pairs = zip(mine, other, strict=True) if isinstance(mine, tuple) else [(mine, other)]
                assert all(a is b for a, b in pairs)
        before = nn.Conv2d.forward
        with theirs:
            model(toy_batch()['inputs'])
        assert nn.Conv2d.forward is before
        assert all(calls == [] for calls in own.pop().values())
        theirs.pop()


def test_a_step_of_an_algorithm():
    linear = dict(type='MethodOutputs', source='torch.nn.Linear.forward')
    losses = dict(loss=dict(type='L2Loss', student=linear, teacher=linear))
    distiller = dict(type='ConfigurableDistiller', distill_losses=losses)
    algorithm = SingleTeacherDistill(**algorithm_config(distiller=distiller))
    batch = toy_batch()
    recorded = {}
    pop = algorithm.distiller.pop_records

    def watched():
        recorded.update(pop())
        return {side: dict(found) for side, found in recorded.items()}

    algorithm.distiller.pop_records = watched
    algorithm(**batch, mode='loss')
    (own,) = recorded[True]['loss.s_feature']
    (theirs,) = recorded[False]['loss.t_feature']
    assert torch.equal(theirs, algorithm.teacher(to_channels_last(batch['inputs'])))
    assert own.requires_grad
    assert not theirs.requires_grad
    assert not torch.equal(own, theirs)
