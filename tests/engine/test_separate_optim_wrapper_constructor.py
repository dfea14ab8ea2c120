"""An optimiser for each part, and what is said about parts that are not there."""

import logging

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapperDict, build_optim_wrapper
from torch import nn

from kd_plugins.engine import SeparateOptimWrapperConstructor, separate_optim_wrapper_constructor
from kd_plugins.errors import UserError

KIND = 'kd_plugins.SeparateOptimWrapperConstructor'
SGD = dict(optimizer=dict(type='SGD', lr=0.1))


class TwoParts(BaseModel):
    def __init__(self):
        super().__init__()
        self.architecture = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        self.generator = nn.Linear(3, 2)
        self.distiller = nn.Module()
        self.frozen = nn.Linear(1, 1).requires_grad_(False)

    def forward(self, *args, **kwargs):
        raise NotImplementedError


def build(model=None, **config):
    return build_optim_wrapper(model or TwoParts(), ConfigDict(constructor=KIND, **config))


def test_each_part_has_its_own():
    model = TwoParts()
    wrappers = build(
        model,
        architecture=dict(
            optimizer=dict(type='SGD', lr=0.1, weight_decay=0.5),
            paramwise_cfg=dict(norm_decay_mult=0),
            clip_grad=dict(max_norm=1),
        ),
        generator=dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=0.001), accumulative_counts=3),
    )
    assert isinstance(wrappers, OptimWrapperDict)
    assert list(wrappers.keys()) == ['architecture', 'generator']
    student, generator = wrappers['architecture'], wrappers['generator']
    assert isinstance(student.optimizer, torch.optim.SGD)
    assert isinstance(generator.optimizer, torch.optim.Adam)
    for wrapper, part in ((student, model.architecture), (generator, model.generator)):
        trained = [weight for group in wrapper.optimizer.param_groups for weight in group['params']]
        assert list(map(id, trained)) == list(map(id, part.parameters()))
    # weight, bias, and those of the BatchNorm, which do not decay
    assert [group['weight_decay'] for group in student.optimizer.param_groups] == [0.5, 0.5, 0, 0]
    assert generator._accumulative_counts == 3
    assert student.clip_grad_kwargs == dict(max_norm=1)


def test_a_step_of_one_leaves_the_other_alone():
    model = TwoParts()
    wrappers = build(model, architecture=SGD, generator=SGD)
    before = model.architecture[0].weight.clone(), model.generator.weight.clone()
    wrappers['generator'].update_params(model.generator(torch.ones(1, 3)).sum())
    assert torch.equal(model.architecture[0].weight, before[0])
    assert not torch.equal(model.generator.weight, before[1])


def test_weights_that_nobody_trains_are_named(monkeypatch):
    said = []
    monkeypatch.setattr(
        separate_optim_wrapper_constructor, 'print_log', lambda text, logger, level: said.append((text, level))
    )
    build(architecture=SGD, generator=SGD)
    assert said == []
    build(generator=SGD)
    assert said == [('optim_wrapper names no architecture: weights there stay as they are', logging.WARNING)]


@pytest.mark.parametrize(
    ('name', 'advice'), [('generater', "did you mean 'generator'"), ('distiller', ''), ('frozen', '')]
)
def test_part_with_nothing_to_train(name, advice):
    message = rf"optim_wrapper\.{name}: expected a part of TwoParts to train, got '{name}'.*{advice}"
    with pytest.raises(UserError, match=message):
        build(architecture=SGD, **{name: SGD})


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(), r'optim_wrapper: expected a dict by part of the model, got \{\}'),
        (
            dict(generator=dict(lr=1)),
            r"optim_wrapper\.generator: expected dict\(optimizer=…\) of a part, got \{'lr': 1\}",
        ),
        (dict(generator=SGD, type='AmpOptimWrapper'), r"optim_wrapper\.type: .*got 'AmpOptimWrapper'.*move type into"),
        (dict(generator=SGD, paramwise_cfg=dict(bias_lr_mult=2)), r'optim_wrapper\.paramwise_cfg: .*each part'),
    ],
)
def test_what_is_no_config_of_parts(config, message):
    with pytest.raises(UserError, match=message):
        build(**config)


def test_all_mistakes_are_named_at_once():
    with pytest.raises(UserError) as error:
        SeparateOptimWrapperConstructor(dict(a=1, b=SGD, c=None), dict())
    places = [fault.where for fault in error.value.faults]
    assert places == ['optim_wrapper.paramwise_cfg', 'optim_wrapper.a', 'optim_wrapper.c']
