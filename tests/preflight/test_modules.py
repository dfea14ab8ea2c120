"""Every module is listed with the shapes and the number of its calls, and the model is left as it was."""

import pytest
import torch
from mmengine.config import Config
from mmpretrain import get_model
from torch import nn
from toy import CLASSES, STUDENT_CHANNELS, ToyClassifier, count_hooks, runner_config, toy_batch

from kd_plugins.preflight import inspect_modules
from kd_plugins.preflight.modules import ModuleRow, list_modules, select


def by_name(rows):
    return {row.name: row for row in rows}


@pytest.fixture
def toy_rows():
    model = ToyClassifier()
    return list_modules(lambda: model(**toy_batch()), model)


@pytest.fixture(scope='module')
def resnet():
    return get_model('resnet18_8xb32_in1k')


@pytest.fixture(scope='module')
def resnet_rows(resnet):
    return list_modules(lambda: resnet(torch.zeros(2, 3, 64, 64)), resnet)


def test_follows_the_order_of_named_modules(toy_rows):
    assert [row.name for row in toy_rows] == [name for name, _ in ToyClassifier().named_modules()]


def test_notes_each_call(toy_rows):
    feature = (2, STUDENT_CHANNELS, 8, 8)
    assert by_name(toy_rows)['relu'] == ModuleRow('relu', 'ReLU', (feature, feature))
    assert len(by_name(toy_rows)['relu']) == 2
    assert by_name(toy_rows)['fc'] == ModuleRow('fc', 'Linear', ((2, CLASSES),))
    assert by_name(toy_rows)[''] == ModuleRow('', 'ToyClassifier', ((2, CLASSES),))


def test_notes_in_which_order_calls_ended(toy_rows):
    ended = {name: row.finished for name, row in by_name(toy_rows).items()}
    assert [ended[name] for name in ('conv1', 'bn', 'relu', 'conv2', 'dropout', 'fc', '')] == [
        (0,), (1,), (2, 4), (3,), (5,), (6,), (7,),
    ]  # fmt: skip


def test_lists_what_never_ran():
    model = nn.ModuleDict(dict(used=nn.Linear(4, 2), idle=nn.Linear(4, 2)))
    rows = by_name(list_modules(lambda: model['used'](torch.zeros(3, 4)), model))
    assert rows['used'].outputs == ((3, 2),)
    assert rows['idle'] == ModuleRow('idle', 'Linear')
    assert len(rows['idle']) == 0


def test_lists_a_shared_module_under_each_name():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.Sequential(shared))
    rows = by_name(list_modules(lambda: model(torch.zeros(3, 4)), model))
    assert rows['0'].outputs == rows['1.0'].outputs == ((3, 4), (3, 4))
    assert list(rows) == ['', '0', '1', '1.0']


def test_resnet18(resnet, resnet_rows):
    rows = by_name(resnet_rows)
    assert list(rows) == [name for name, _ in resnet.named_modules()]
    assert rows['backbone'].outputs == ([(2, 512, 2, 2)],)
    assert rows['backbone.layer3'].outputs == ((2, 256, 4, 4),)
    assert rows['backbone.layer4.1.relu'].outputs == ((2, 512, 2, 2),) * 2
    assert rows['head.fc'].outputs == ((2, 1000),)
    assert rows['head.loss_module'].outputs == ()


def test_runs_without_gradient_and_once(resnet):
    gradients = []
    list_modules(lambda: gradients.append(torch.is_grad_enabled()), resnet)
    assert gradients == [False]
    assert torch.is_grad_enabled()


def test_leaves_no_hook(resnet, resnet_rows):
    assert count_hooks(resnet) == 0


def test_leaves_no_hook_after_an_exception():
    model = ToyClassifier()
    with pytest.raises(RuntimeError, match='channels'):
        list_modules(lambda: model(torch.zeros(1, 5, 8, 8)), model)
    assert count_hooks(model) == 0


def test_selects_by_pattern(resnet_rows):
    def names(pattern):
        return [row.name for row in select(resnet_rows, pattern)]

    assert names('backbone.layer?') == [f'backbone.layer{stage}' for stage in (1, 2, 3, 4)]
    assert names('head.*') == ['head.loss_module', 'head.fc']
    assert names('*.layer4.1.relu') == ['backbone.layer4.1.relu']
    assert names('Head*') == []
    assert names(None) == [row.name for row in resnet_rows]


def test_several_teachers_are_listed_under_the_names_that_sources_begin_with(tmp_path):
    losses = dict(loss_kl=dict(type='KLDivergence', student='fc', teacher='a.fc'))
    model = dict(
        type='kd_plugins.MultiTeacherDistill',
        architecture=dict(type='ToyClassifier'),
        teachers={name: dict(build_cfg=dict(type='ToyClassifier')) for name in ('a', 'b')},
        distiller=dict(type='ConfigurableDistiller', distill_losses=losses),
    )
    rows = by_name(inspect_modules(Config(runner_config(tmp_path, model)), 'teacher'))
    assert rows['a.fc'].outputs == rows['b.fc'].outputs == ((2, CLASSES),)
