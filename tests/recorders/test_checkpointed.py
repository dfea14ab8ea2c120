"""Sources under gradient checkpointing, whose forward runs twice."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils import checkpoint as checkpointing
from torch.utils.checkpoint import checkpoint

from kd_plugins.distiller import ConfigurableDistiller
from kd_plugins.errors import UserError
from kd_plugins.recorders import (
    FunctionInputs,
    FunctionOutputs,
    MethodOutputs,
    ModuleInputs,
    ModuleOutputs,
    Recorder,
)

HERE = __name__


def double(x):
    return x * 2


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(double(self.fc(x)))


class Model(nn.Module):
    def __init__(self, reentrant=None):
        super().__init__()
        self.stem = nn.Linear(3, 3)
        self.block = Block()
        self.reentrant = reentrant
        self.calls = 0
        self.block.fc.register_forward_hook(self.count)

    def count(self, *_):
        self.calls += 1

    def forward(self, x):
        x = self.stem(x)
        return self.block(x) if self.reentrant is None else checkpoint(self.block, x, use_reentrant=self.reentrant)


INSIDE = [
    ModuleOutputs('block'),  # is what checkpoint calls
    ModuleOutputs('block.fc'),
    ModuleOutputs('block.relu'),
    ModuleInputs('block.relu'),
    FunctionOutputs(f'{HERE}.double'),
    FunctionInputs(f'{HERE}.double'),
    MethodOutputs('torch.nn.ReLU.forward'),
]


def name(recorder):
    return f'{type(recorder).__name__}-{recorder.source}'


def run(recorder, model, images, **grad):
    recorder.attach(model)
    with recorder, torch.set_grad_enabled(grad.get('grad', True)):
        output = model(images)
    return output, recorder


@pytest.mark.parametrize('recorder', INSIDE, ids=name)
def test_the_usual_variant_is_recorded_once_and_with_its_gradient(recorder):
    images = torch.randn(2, 3)
    plain, checkpointed = Model(), Model(reentrant=False)
    checkpointed.load_state_dict(plain.state_dict())
    gradients = []
    for model in (plain, checkpointed):
        model.calls = 0
        output, _ = run(recorder, model, images)
        (record,) = recorder.pop()
        value = record[0] if isinstance(record, tuple) else record
        loss = output.sum() + value.square().sum()
        loss.backward()
        assert recorder.pop() == []  # what ran again in the backward is not recorded
        gradients.append([weight.grad for weight in model.parameters()])
    assert checkpointed.calls > plain.calls == 1
    assert all(torch.allclose(*pair) for pair in zip(*gradients, strict=True))
    recorder.detach()


@pytest.mark.parametrize('recorder', INSIDE, ids=name)
def test_a_record_of_the_reentrant_variant_is_refused_when_it_is_used(recorder):
    model = Model(reentrant=True)
    output, _ = run(recorder, model, torch.randn(2, 3))
    records = recorder.pop()
    assert len(records) == 1
    for call in (0, -1):
        with pytest.raises(UserError, match=r"'.*' in a reentrant gradient checkpoint.*use_reentrant=False"):
            records[call]
    output.sum().backward()
    assert recorder.pop() == []
    recorder.detach()


@pytest.mark.parametrize(
    'recorder', [ModuleOutputs(''), ModuleInputs('block'), ModuleInputs('block.fc'), ModuleOutputs('stem')], ids=name
)
def test_what_goes_in_and_comes_out_of_it_has_its_gradient(recorder):
    gradients = []
    images, weights = torch.randn(2, 3), Model().state_dict()
    for reentrant in (None, True):
        model = Model(reentrant)
        model.load_state_dict(weights)
        run(recorder, model, images)
        record = recorder.pop()[0]
        value = record[0] if isinstance(record, tuple) else record
        value.square().sum().backward()
        gradients.append([weight.grad for weight in model.stem.parameters()])
    assert all(torch.allclose(*pair) for pair in zip(*gradients, strict=True))


@pytest.mark.parametrize('recorder', INSIDE, ids=name)
@pytest.mark.parametrize('grad', [False, True])
@pytest.mark.filterwarnings('ignore:None of the inputs')
def test_a_frozen_model_misses_no_gradient(recorder, grad):
    model = Model(reentrant=True).requires_grad_(False)
    run(recorder, model, torch.randn(2, 3), grad=grad)
    (record,) = recorder.pop()
    assert record is not None
    recorder.detach()


@pytest.mark.filterwarnings('ignore:None of the inputs')
def test_a_model_that_is_only_looked_at_misses_no_gradient():
    model = Model(reentrant=True)
    _, recorder = run(ModuleOutputs('block.fc'), model, torch.randn(2, 3), grad=False)
    assert recorder.pop()[0].shape == (2, 3)


def test_no_grad_alone_is_no_checkpoint():
    class Momentum(Model):
        def forward(self, x):
            with torch.no_grad():
                return self.block(self.stem(x))

    _, recorder = run(ModuleOutputs('block.fc'), Momentum(), torch.randn(2, 3))
    assert not recorder.pop()[0].requires_grad


def test_entering_again_forgets_which_calls_were_checkpointed():
    model = Model(reentrant=True)
    _, recorder = run(ModuleOutputs('block.fc'), model, torch.randn(2, 3))
    model.reentrant = False
    _, recorder = run(recorder, model, torch.randn(2, 3))
    assert recorder.pop()[0].requires_grad


@pytest.mark.filterwarnings('ignore:None of the inputs')
def test_the_distiller_says_which_source_it_is():
    model = Model(reentrant=True)
    losses = dict(loss=dict(type='L2Loss', student='block.fc', teacher='block.fc'))
    distiller = ConfigurableDistiller(distill_losses=losses)
    distiller.prepare_from_student(model)
    distiller.prepare_from_teacher(model)
    with distiller.teacher_recorders, torch.no_grad():
        model(torch.randn(2, 3))
    with distiller.student_recorders:
        model(torch.randn(2, 3))
    with pytest.raises(UserError) as caught:
        distiller.compute_distill_losses()
    (fault,) = caught.value.faults
    assert (fault.where, fault.expected) == ('distill_losses.loss.student', 'a record that carries gradient')


class TestResNet:
    """mmpretrain's, whose ``with_cp=True`` is the reentrant variant unless torch is told otherwise."""

    @staticmethod
    def records(source, **options):
        from mmpretrain.models import ResNet

        torch.manual_seed(0)
        model = ResNet(18, out_indices=(3,), **options).double()
        recorder = ModuleOutputs(source)
        recorder.attach(model)
        with recorder:
            output = model(torch.randn(2, 3, 64, 64, dtype=torch.float64))[0]
        return model, recorder, output

    # the last relu of a block runs outside of what is checkpointed
    @pytest.mark.parametrize(('source', 'call'), [('layer2.0', 0), ('layer2.1.relu', 1), ('layer4.1', 0)])
    @pytest.mark.filterwarnings('ignore:torch.utils.checkpoint')
    def test_outputs_of_its_blocks(self, source, call):
        gradients = []
        for with_cp in (False, True):
            model, recorder, output = self.records(source, with_cp=with_cp)
            records = recorder.pop()
            (records[call].square().mean() + output.mean()).backward()
            assert recorder.pop() == []
            gradients.append(model.conv1.weight.grad)
        assert torch.allclose(*gradients)

    @pytest.mark.parametrize('source', ['layer2.0.conv1', 'layer2.0.relu'])
    @pytest.mark.filterwarnings('ignore:torch.utils.checkpoint')
    def test_the_inside_of_its_blocks(self, source):
        _, recorder, _ = self.records(source, with_cp=True)
        with pytest.raises(UserError, match='with_cp=False'):
            recorder.pop()[0]

    def test_the_inside_of_its_blocks_with_the_other_variant(self, monkeypatch):
        monkeypatch.setattr(checkpointing, 'checkpoint', partial(checkpoint, use_reentrant=False))
        gradients = []
        for with_cp in (False, True):
            model, recorder, _ = self.records('layer2.0.conv1', with_cp=with_cp)
            (record,) = recorder.pop()
            record.square().mean().backward()
            assert recorder.pop() == []
            gradients.append(model.conv1.weight.grad)
        assert torch.allclose(*gradients)


def test_recorders_of_others_stay_as_they_are():
    class Own(Recorder):
        def attach(self, model):
            model.register_forward_hook(lambda *_: self._records.append(1))

        def detach(self):
            pass

    _, recorder = run(Own(''), Model(reentrant=True), torch.randn(2, 3))
    assert recorder.pop() == [1]
