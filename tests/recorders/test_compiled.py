"""Recorders of a compiled model record what they record of a plain one, in every step, and break no graph."""

import copy
from contextlib import ExitStack

import pytest
import torch
import torch._dynamo
from compiled_net import Net
from torch._dynamo.testing import CompileCounterWithBackend
from torch.testing import assert_close

from kd_plugins.errors import UserError, drafting
from kd_plugins.recorders import (
    FunctionInputs,
    FunctionOutputs,
    MethodInputs,
    MethodOutputs,
    ModuleInputs,
    ModuleOutputGrads,
    ModuleOutputs,
    Parameter,
    compile_recorded,
)
from kd_plugins.recorders.module_output_grads import take_gradients
from kd_plugins.recorders.tensors import tensors_of

LAYERS = [f'blocks.{block}.{layer}' for block in range(6) for layer in range(3)]
RECORDERS = {
    'module': lambda: [ModuleOutputs('blocks.1')],
    'a module called often': lambda: [ModuleOutputs('relu')],
    'inputs': lambda: [ModuleInputs('blocks.2'), ModuleInputs('fc')],
    'the whole': lambda: [ModuleOutputs('')],
    'parameter': lambda: [Parameter('fc.weight'), ModuleOutputs('blocks.0')],
    'method': lambda: [MethodOutputs('compiled_net.Net.pool'), MethodInputs('compiled_net.Net.pool')],
    "torch's method": lambda: [MethodOutputs('torch.nn.Linear.forward')],
    'function': lambda: [FunctionOutputs('compiled_net.gate'), FunctionInputs('compiled_net.gate')],
    'twenty': lambda: [*map(ModuleOutputs, LAYERS), ModuleInputs('fc'), ModuleOutputs('fc')],
}


@pytest.fixture(autouse=True)
def _nothing_compiled_yet():
    torch._dynamo.reset()


def step(model, recorders, images):
    """Records, and gradients of the weights, of a loss that is made of both output and records."""
    model.zero_grad()
    with ExitStack() as entered:
        for recorder in recorders:
            entered.enter_context(recorder)
        output = model(images)
    records = [recorder.pop() for recorder in recorders]
    assert all(recorder.pop() == [] for recorder in recorders)
    (output.sum() + sum(tensor.square().mean() for tensor in tensors_of(records))).backward()
    return records, [weight.grad.clone() for weight in model.parameters()]


def attached(recorders, model):
    for recorder in recorders:
        recorder.attach(model)
    return recorders


@pytest.mark.parametrize('name', RECORDERS)
def test_records_and_gradients_are_those_of_the_plain_model(name):
    plain, counter = Net(), CompileCounterWithBackend('aot_eager')
    compiled = copy.deepcopy(plain)
    ours, theirs = attached(RECORDERS[name](), compiled), attached(RECORDERS[name](), plain)
    # a graph break raises
    compile_recorded(compiled, dict(backend=counter, fullgraph=True))
    for seed in range(4):
        images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        found, expected = step(compiled, ours, images), step(plain, theirs, images)
        assert_close(found, expected)
        # and they are not those of another step
        assert all(records for records in found[0])
    assert counter.frame_count == 1


@pytest.mark.slow
def test_with_inductor():
    plain = Net()
    compiled = copy.deepcopy(plain)
    ours, theirs = attached(RECORDERS['twenty'](), compiled), attached(RECORDERS['twenty'](), plain)
    compile_recorded(compiled, True)
    for seed in range(3):
        images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        assert_close(step(compiled, ours, images), step(plain, theirs, images), rtol=1e-4, atol=1e-5)


def test_without_gradient():
    model = Net()
    (recorder,) = attached([ModuleOutputs('blocks.0')], model)
    compile_recorded(model, dict(backend='aot_eager', fullgraph=True))
    with torch.no_grad(), recorder:
        model(torch.zeros(2, 3, 8, 8))
    (record,) = recorder.pop()
    assert not record.requires_grad


def test_a_recorded_parameter_is_the_parameter():
    model = Net()
    (recorder,) = attached([Parameter('fc.weight')], model)
    compile_recorded(model, dict(backend='aot_eager'))
    for _ in range(2):
        with recorder:
            model(torch.zeros(2, 3, 8, 8))
        assert recorder.pop()[0] is model.fc.weight


def test_gradient_of_an_output_is_refused():
    """The compiled forward is one node of the graph: what goes on inside has no gradient of its own."""
    model = Net()
    (recorder,) = attached([ModuleOutputGrads('blocks.1')], model)
    compile_recorded(model, dict(backend='aot_eager'))
    with recorder:
        output = model(torch.randn(2, 3, 8, 8))
    gradients = take_gradients(output.square().sum(), recorder.outputs, create_graph=False)
    with pytest.raises(UserError, match='on which the loss does not depend'):
        recorder.receive(gradients)


def test_models_of_one_class_have_recorders_of_their_own():
    """Torch keeps what it compiled by the code of a class: a second model would run what the first one's hooks were."""
    images = torch.randn(2, 3, 8, 8)
    for sources in ([], ['blocks.0'], ['blocks.0', 'blocks.1'], ['blocks.2']):
        model = Net()
        compile_recorded(model, dict(backend='aot_eager'))
        recorders = attached([ModuleOutputs(source) for source in sources], model)
        records, _ = step(model, recorders, images)
        assert [len(record) for record in records] == [1] * len(sources)


def test_a_recorder_that_comes_late_and_one_that_goes():
    model = Net()
    first, late = ModuleOutputs('blocks.0'), ModuleOutputs('blocks.1')
    attached([first], model)
    compile_recorded(model, dict(backend='aot_eager'))
    images = torch.randn(2, 3, 8, 8)
    step(model, [first], images)
    late.attach(model)
    assert [len(record) for record in step(model, [first, late], images)[0]] == [1, 1]
    first.detach()
    assert [len(record) for record in step(model, [first, late], images)[0]] == [0, 1]


def test_nothing_is_recorded_outside():
    model = Net()
    (recorder,) = attached([ModuleOutputs('blocks.0')], model)
    compile_recorded(model, dict(backend='aot_eager'))
    images = torch.randn(2, 3, 8, 8)
    for _ in range(2):
        step(model, [recorder], images)
        model(images)
        assert recorder.pop() == []


def test_weights_keep_their_names_and_copies_are_plain():
    model = Net()
    names = [*model.state_dict()]
    compile_recorded(model, True)
    assert [*model.state_dict()] == names
    assert copy.deepcopy(model)._compiled_call_impl is None


def test_not_while_drafting():
    model = Net()
    with drafting():
        compile_recorded(model, True)
    compile_recorded(model, False)
    assert model._compiled_call_impl is None


@pytest.mark.parametrize(
    ('options', 'got'),
    [
        (dict(mod='default'), "unexpected keyword argument 'mod'"),
        (dict(mode='fast'), 'Unrecognized mode=fast'),
        (dict(backend='inductr'), "Invalid backend: 'inductr'"),
        (dict(dynamic='yes'), "got {'dynamic': 'yes'}; correct"),
        ('inductor', "got 'inductor' (TypeError"),
    ],
)
def test_what_torch_compile_does_not_take(options, got):
    model = Net()
    with pytest.raises(UserError, match=r'^compile: expected True, False, or a dict of arguments') as error:
        compile_recorded(model, options)
    assert got in str(error.value)
    assert model._compiled_call_impl is None
