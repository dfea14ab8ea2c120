"""What a watched forward says about folding and overwriting, for forwards made to be misread."""

from functools import partial

import pytest
import torch
from torch import nn

from kd_plugins.build import Declared
from kd_plugins.recorders import RecorderSet
from kd_plugins.teacher.trace import trace


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.bn = nn.BatchNorm2d(3)
        self.other_bn = nn.BatchNorm2d(3)
        self.relu = nn.ReLU()
        self.last = nn.Conv2d(3, 2, 1)


class Plain(Base):
    def forward(self, x):
        return self.last(self.relu(self.bn(self.conv(x))))


class Shortcut(Base):
    """The convolution's output is added again after the BatchNorm."""

    def forward(self, x):
        y = self.conv(x)
        return self.last(self.relu(self.bn(y) + y))


class LateShortcut(Base):
    """What goes into the activation is needed after it."""

    def forward(self, x):
        y = self.bn(self.conv(x))
        return self.last(self.relu(y) + y)


class View(Base):
    """The convolution's output is looked at through a view."""

    def forward(self, x):
        y = self.conv(x)
        mean = y.flatten(2).mean()
        return self.last(self.relu(self.bn(y))) + mean


class Returned(Base):
    """The convolution's output is returned too."""

    def forward(self, x):
        y = self.conv(x)
        return self.last(self.relu(self.bn(y))), y


class Shared(Base):
    """One convolution, a BatchNorm for each of two scales, as in some detectors' heads."""

    def forward(self, x):
        return self.last(self.relu(self.bn(self.conv(x)))) + self.last(self.relu(self.other_bn(self.conv(x * 2))))


class SharedBoth(Base):
    """Convolution and BatchNorm are used twice, always together."""

    def forward(self, x):
        return self.last(self.relu(self.bn(self.conv(x)))) + self.last(self.relu(self.bn(self.conv(x * 2))))


class SharedNorm(Base):
    """The BatchNorm is used without the convolution as well."""

    def forward(self, x):
        return self.last(self.relu(self.bn(self.conv(x)))) + self.last(self.bn(x))


class OnInput(Base):
    """The activation's input is the model's."""

    def forward(self, x):
        return self.last(self.relu(x))


class OnWeight(Base):
    """The activation's input is a weight."""

    def forward(self, x):
        return self.last(x * self.relu(self.bn.weight)[:, None, None])


class InsideSequential(Base):
    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(self.conv, self.bn, self.relu)

    def forward(self, x):
        return self.last(self.block(x))


class ScaledConv(nn.Conv2d):
    """A convolution that computes its weight, as weight standardisation does."""

    def forward(self, x):
        return self._conv_forward(x, self.weight * 2, self.bias)


class OwnConvolution(Plain):
    def __init__(self):
        super().__init__()
        self.conv = ScaledConv(3, 3, 1)


class AlwaysTraining(nn.BatchNorm2d):
    """Scales by the statistics of the batch, whatever the model is asked for."""

    def train(self, mode=True):
        return super().train(True)


class TrainingNorm(Plain):
    def __init__(self):
        super().__init__()
        self.bn = AlwaysTraining(3)


def watched(model, **sources):
    torch.manual_seed(0)
    model.eval().requires_grad_(False)
    recorders = RecorderSet({name: Declared(config, '') for name, config in sources.items()})
    recorders.attach(model)
    inputs = torch.randn(2, 3, 4, 4)
    with recorders, torch.no_grad():
        seen = trace(model, recorders, partial(model, inputs), inputs)
    names = {module: name for name, module in model.named_modules()}
    folds = {(names[conv], names[norm]) for conv, norm in seen.folds()}
    return folds, {names[module] for module in seen.overwritable()}


PAIR = {('conv', 'bn')}


@pytest.mark.parametrize(
    ('model', 'folds', 'overwritable'),
    [
        (Plain, PAIR, {'relu'}),
        (Shortcut, set(), {'relu'}),
        (LateShortcut, PAIR, set()),
        (View, set(), {'relu'}),
        (Returned, set(), {'relu'}),
        (Shared, set(), {'relu'}),
        (SharedBoth, PAIR, {'relu'}),
        (SharedNorm, set(), {'relu'}),
        (OnInput, set(), set()),
        (OnWeight, set(), set()),
        (InsideSequential, {('block.0', 'block.1')}, {'block.2'}),
        (OwnConvolution, set(), {'relu'}),
        (TrainingNorm, set(), {'relu'}),
    ],
)
def test_what_may_be_folded_and_overwritten(model, folds, overwritable):
    found, acts = watched(model())
    # a module of two names is known under its last one
    alias = {'conv': 'block.0', 'bn': 'block.1', 'relu': 'block.2'} if model is InsideSequential else {}
    assert {tuple(alias.get(name, name) for name in pair) for pair in found} == folds
    assert {alias.get(name, name) for name in acts} == overwritable


@pytest.mark.parametrize(
    ('source', 'folds', 'overwritable'),
    [
        (dict(type='ModuleOutputs', source='conv'), set(), {'relu'}),
        (dict(type='ModuleInputs', source='bn'), set(), {'relu'}),
        (dict(type='ModuleOutputs', source='bn'), PAIR, set()),
        (dict(type='ModuleInputs', source='relu'), PAIR, set()),
        (dict(type='ModuleOutputs', source='relu'), PAIR, {'relu'}),
        (dict(type='MethodOutputs', source='torch.nn.Conv2d.forward'), set(), {'relu'}),
    ],
)
def test_a_record_keeps_its_value(source, folds, overwritable):
    assert watched(Plain(), record=source) == (folds, overwritable)


def test_somebodys_own_hook_keeps_the_convolution():
    model = Plain()
    model.conv.register_forward_hook(lambda module, inputs, output: None)
    assert watched(model)[0] == set()


def test_hooks_are_gone_afterwards():
    model = Plain()
    watched(model)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
