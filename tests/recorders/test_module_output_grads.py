import copy

import pytest
import torch
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from torch import nn
from torch.utils.checkpoint import checkpoint
from toy import ToyClassifier, count_hooks, toy_batch

from kd_plugins.build import Declared, build_component
from kd_plugins.errors import UserError
from kd_plugins.recorders import ModuleOutputGrads, RecorderSet
from kd_plugins.registry import TASK_UTILS

GRADS = dict(type='ModuleOutputGrads', source='first')


class Model(nn.Module):
    """loss = sum over the batch of (w * relu(first(x)) + b)^2, of which the derivatives are worked out by hand."""

    def __init__(self, inplace=False):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(4, 1)
        self.unused = nn.Linear(4, 1)
        self.inplace = inplace

    def forward(self, x):
        feature = self.first(x)
        feature = feature.relu_() if self.inplace else feature.relu()
        self.unused(feature)
        return self.second(feature).square().sum()


def expected_gradient(model, x):
    """By the chain rule: 2 (w * relu(y) + b) * w where y > 0, (N, 4)."""
    feature = nn.functional.linear(x, model.first.weight, model.first.bias)
    output = nn.functional.linear(feature.relu(), model.second.weight, model.second.bias)
    return 2 * output * model.second.weight * (feature > 0)


def attached(model, **configs):
    recorders = RecorderSet({name: Declared(config, f'recorders.{name}') for name, config in configs.items()})
    recorders.attach(model)
    return recorders


def step(model, recorders, x, create_graph=True):
    with recorders:
        loss = model(x)
    recorders.take_gradients(loss, create_graph)
    return loss


@pytest.mark.parametrize('inplace', [False, True])
@pytest.mark.parametrize('frozen', [False, True])
def test_it_is_the_gradient_of_the_output_whatever_is_done_to_it_later(frozen, inplace):
    model, x = Model(inplace).double().requires_grad_(not frozen), torch.randn(5, 3).double()
    recorders = attached(model, grads=GRADS)
    step(model, recorders, x, create_graph=not frozen)
    (record,) = recorders.pop()['grads']
    assert torch.allclose(record, expected_gradient(model, x), rtol=1e-12)
    assert record.requires_grad is not frozen
    assert all(weight.grad is None for weight in model.parameters())
    assert not x.requires_grad


def test_a_recorder_changes_no_loss_and_no_gradient_of_a_weight():
    model, x = Model(), torch.randn(5, 3)
    recorders = attached(model, grads=GRADS)
    losses = model(x), step(model, recorders, x)
    assert torch.equal(*losses)
    gradients = [torch.autograd.grad(loss, [model.first.weight, model.second.bias]) for loss in losses]
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_a_loss_of_the_record_teaches_the_model_in_the_same_backward():
    model, x = Model().double(), torch.randn(5, 3).double()
    recorders = attached(model, grads=GRADS)
    loss = step(model, recorders, x)
    (record,) = recorders.pop()['grads']
    (loss + record.square().mean()).backward()
    gradients = [model.first.weight.grad, model.second.weight.grad, model.second.bias.grad]
    total = model(x) + expected_gradient(model, x).square().mean()
    by_hand = torch.autograd.grad(total, [model.first.weight, model.second.weight, model.second.bias])
    assert all(torch.allclose(*pair, rtol=1e-10) for pair in zip(gradients, by_hand, strict=True))


def test_one_record_a_call():
    model = ToyClassifier()
    batch = toy_batch()
    recorders = attached(model.eval(), grads=dict(type='ModuleOutputGrads', source='relu'))
    with recorders:
        loss = model(**batch, mode='loss')['loss']
    recorders.take_gradients(loss, create_graph=False)
    first, second = recorders.pop()['grads']
    assert first.shape == second.shape == (2, 4, 8, 8)
    # the mean over the pixels spreads the gradient evenly
    assert torch.allclose(second, second[:, :, :1, :1].expand_as(second))
    assert first.abs().sum() > 0
    assert not torch.allclose(first, first[:, :, :1, :1].expand_as(first))


def test_a_frozen_model_keeps_nothing_before_the_output():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).requires_grad_(False)
    recorders = attached(
        model,
        before=dict(type='ModuleOutputs', source='0'),
        grads=dict(type='ModuleOutputGrads', source='1'),
        after=dict(type='ModuleOutputs', source='2'),
        given=dict(type='ModuleInputs', source='2'),
    )
    with recorders:
        loss = model(torch.randn(2, 3)).sum()
    assert loss.requires_grad
    recorders.take_gradients(loss, create_graph=False)
    records = recorders.pop()
    assert torch.equal(records['grads'][0], model[2].weight.expand(2, 4))
    # the records of a frozen model send no gradient anywhere
    values = [records['before'][0], records['after'][0], records['given'][0][0]]
    assert not any(value.requires_grad for value in values)


def test_the_records_of_a_model_that_learns_keep_their_graph():
    model = Model()
    recorders = attached(model, grads=GRADS, feature=dict(type='ModuleOutputs', source='first'))
    step(model, recorders, torch.randn(2, 3))
    assert recorders.pop()['feature'][0].requires_grad


def test_outputs_that_are_tuples_lists_and_dicts():
    class Split(nn.Module):
        def forward(self, x):
            return {'parts': (x[:, 0], [x[:, 1]]), 'index': torch.zeros(1, dtype=torch.long), 'name': 'x'}

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.split = Split()

        def forward(self, x):
            found = self.split(x)
            assert found['name'] == 'x'
            return (2 * found['parts'][0] + 3 * found['parts'][1][0]).sum()

    model = Whole()
    recorders = attached(model, grads=dict(type='ModuleOutputGrads', source='split'))
    step(model, recorders, torch.randn(4, 2), create_graph=False)
    (record,) = recorders.pop()['grads']
    assert torch.equal(record['parts'][0], torch.full((4,), 2.0))
    assert torch.equal(record['parts'][1][0], torch.full((4,), 3.0))
    assert record['index'] is None


def test_several_recorders_take_theirs_in_one_backward(monkeypatch):
    model, x = Model().double(), torch.randn(5, 3).double()
    recorders = attached(model, grads=GRADS, again=GRADS, output=dict(type='ModuleOutputGrads', source='second'))
    backwards = []
    grad = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, 'grad', lambda *args, **kwargs: backwards.append(0) or grad(*args, **kwargs))
    step(model, recorders, x)
    records = recorders.pop()
    assert len(backwards) == 1
    assert torch.allclose(records['grads'][0], expected_gradient(model, x))
    assert torch.equal(records['grads'][0], records['again'][0])
    assert records['output'][0].shape == (5, 1)


def test_both_sets_of_one_model():
    model, x = Model().double(), torch.randn(5, 3).double()
    own, theirs = attached(model, grads=GRADS), attached(model, grads=GRADS)
    with theirs, own:
        loss = model(x)
    for recorders in (own, theirs):
        recorders.take_gradients(loss, create_graph=True)
    records = own.pop()['grads'][0], theirs.pop()['grads'][0]
    assert all(torch.allclose(record, expected_gradient(model, x)) for record in records)


def test_small_gradients_do_not_vanish_in_half_precision():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1)).half()
    recorders = attached(model, grads=dict(type='ModuleOutputGrads', source='0'))
    with recorders:
        # 2^-26 of the weight is less than float16 can hold
        loss = model(torch.randn(2, 3).half()).float().sum() * 2**-26
    recorders.take_gradients(loss, create_graph=False)
    (record,) = recorders.pop()['grads']
    assert record.dtype == torch.float32
    assert torch.allclose(record, model[1].weight.float().expand(2, 4) * 2**-26, rtol=1e-2)


def test_under_autocast():
    model, x = Model(), torch.randn(5, 3)
    recorders = attached(model, grads=GRADS)
    with torch.autocast('cpu', torch.bfloat16):
        loss = step(model, recorders, x)
    (record,) = recorders.pop()['grads']
    assert record.dtype == torch.bfloat16
    (loss + record.float().square().sum()).backward()
    assert all(torch.isfinite(part.weight.grad).all() for part in (model.first, model.second))


def test_an_empty_batch_has_an_empty_gradient():
    model = Model()
    recorders = attached(model, grads=GRADS)
    step(model, recorders, torch.randn(0, 3))
    assert recorders.pop()['grads'][0].shape == (0, 4)


def test_needs_loss():
    assert attached(Model(), grads=GRADS).needs_loss
    other = attached(Model(), feature=dict(type='ModuleOutputs', source='first'))
    assert not other.needs_loss
    other.take_gradients(torch.zeros(()), create_graph=True)  # nothing to do
    assert not RecorderSet({}).needs_loss


class TestRefused:
    @staticmethod
    def refused(call, where='recorders.grads.source'):
        with pytest.raises(UserError) as caught:
            call()
        (fault,) = caught.value.faults
        assert fault.where == where
        return str(fault)

    def test_a_source_on_which_the_loss_does_not_depend(self):
        model = Model()
        recorders = attached(model, fine=GRADS, grads=dict(type='ModuleOutputGrads', source='unused'))
        assert "'unused', on which the loss does not depend" in self.refused(
            lambda: step(model, recorders, torch.ones(1, 3))
        )

    def test_a_loss_without_graph(self):
        model = Model()
        recorders = attached(model, grads=GRADS)
        with recorders:
            model(torch.ones(1, 3))
        message = self.refused(lambda: recorders.take_gradients(torch.ones(()), create_graph=True))
        assert 'on which the loss does not depend' in message
        assert recorders.pop() == {'grads': []}

    def test_a_model_that_ran_without_gradient(self):
        model = Model()
        recorders = attached(model, grads=GRADS)
        with torch.no_grad():
            assert 'no_grad' in self.refused(lambda: step(model, recorders, torch.ones(1, 3)))

    def test_gradients_that_nobody_took(self):
        model = Model()
        recorders = attached(model, grads=GRADS, feature=dict(type='ModuleOutputs', source='first'))
        for _ in range(2):
            with recorders:
                model(torch.ones(1, 3))
            assert 'take_gradients' in self.refused(recorders.pop)
            assert recorders.recorders['feature'].pop() == []

    def test_an_output_without_tensors(self):
        class Name(nn.Module):
            def forward(self, x):
                return 'x'

        model = nn.Sequential(Name())
        recorder = ModuleOutputGrads('0')
        recorder.attach(model)
        with pytest.raises(UserError, match='returns a str'), recorder:
            model(torch.ones(1))

    def test_a_reentrant_checkpoint_on_the_way(self):
        class Checkpointed(Model):
            def forward(self, x):
                return checkpoint(self.second, self.first(x).relu(), use_reentrant=True).sum()

        model = Checkpointed()
        recorders = attached(model, grads=GRADS)
        message = self.refused(lambda: step(model, recorders, torch.ones(2, 3)))
        assert 'use_reentrant=False' in message

    def test_a_source_in_a_reentrant_checkpoint(self):
        class Checkpointed(Model):
            def forward(self, x):
                feature = self.second(self.first(x))
                return feature.sum() + checkpoint(self.first, x, use_reentrant=True).sum()

        model = Checkpointed()
        recorders = attached(model, grads=GRADS)
        step(model, recorders, torch.ones(2, 3, requires_grad=True))
        records = recorders.pop()['grads']
        assert torch.equal(records[0], model.second.weight.expand(2, 4))
        assert 'use_reentrant=False' in self.refused(lambda: records[1], where='')


def test_an_exception_leaves_no_output():
    model = Model()
    recorders = attached(model, grads=GRADS)
    with pytest.raises(RuntimeError), recorders:
        model(torch.ones(1, 5))
    with pytest.raises(ZeroDivisionError), recorders:  # noqa: PT012
        model(torch.ones(1, 3))
        raise ZeroDivisionError
    assert recorders.pop() == {'grads': []}


def test_detach_and_copies():
    model = Model()
    recorder = ModuleOutputGrads('first')
    recorder.attach(model)
    copy.deepcopy((model, recorder))
    recorder.detach()
    assert count_hooks(model) == 0


def test_outside_it_leaves_the_output_alone():
    model = nn.Sequential(nn.Linear(3, 4)).requires_grad_(False)
    recorder = ModuleOutputGrads('0')
    recorder.attach(model)
    assert not model(torch.ones(1, 3)).requires_grad


@pytest.mark.parametrize('name', ['ModuleOutputGrads', 'ModuleOutputGradsRecorder'])
def test_type_names(name):
    assert type(build_component(TASK_UTILS, dict(type=name, source='fc'), 'here')) is ModuleOutputGrads
    assert type(MMENGINE_TASK_UTILS.build(dict(type=f'kd_plugins.{name}', source='fc'))) is ModuleOutputGrads
