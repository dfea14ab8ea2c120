"""Custom keys that match no parameter that is trained are warned about."""

import pytest
from mmengine.config import Config
from toy import algorithm_config, runner_config

from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.preflight.custom_keys import unmatched_keys

ALGORITHM = SingleTeacherDistill(**algorithm_config())


def warnings(model=ALGORITHM, /, **changes):
    return unmatched_keys(Config(runner_config('', **changes)), model)


def keys(**custom):
    return dict(optimizer=dict(type='SGD', lr=0.1), paramwise_cfg=dict(custom_keys=custom))


@pytest.mark.parametrize(
    ('custom', 'said'),
    [
        ({'architecture.con1': {}}, "'architecture.con1', which is in none"),
        ({'backbone': {}, 'fc': {}}, "'backbone', which is in none"),
        # .conv1.weight would be a parameter of the algorithm itself
        ({'.architecture': {}}, "'.architecture', which is in none"),
        ({'teacher': {}}, "'teacher', whose parameters are frozen"),
        ({'conv1': {}, 'architecture.conv1': {}}, "'conv1', whose parameters longer keys decide about"),
    ],
)
def test_custom_keys_that_decide_about_nothing(custom, said):
    (warning,) = warnings(optim_wrapper=keys(**custom))
    assert warning.where.startswith('optim_wrapper.paramwise_cfg.custom_keys.')
    assert warning.got == said


def test_the_closest_key_is_named():
    (warning,) = warnings(optim_wrapper=keys(**{'architecture.con1': {}}))
    assert "'architecture.conv1'" in warning.advice


def test_custom_keys_that_decide():
    custom = {'architecture': {}, 'architecture.conv1': {}, '.bias': {}, 'widen': {}}
    assert warnings(optim_wrapper=keys(**custom)) == []


def test_a_recipe_for_many_models_spares_what_this_one_has_not():
    spared = dict(decay_mult=0.0)
    assert warnings(optim_wrapper=keys(**{'.pos_embed': spared, '.cls_token': spared, 'q_bias': spared})) == []


@pytest.mark.parametrize(
    ('key', 'setting'),
    [('.pos_embed', dict(decay_mult=0.0, lr_mult=0.1)), ('.weigth', dict(decay_mult=0)), ('.fc1', dict(decay_mult=2))],
)
def test_a_recipe_that_says_more_or_is_misspelt(key, setting):
    (warning,) = warnings(optim_wrapper=keys(**{key: setting}))
    assert warning.where.endswith(key)


def test_custom_keys_of_what_is_frozen():
    model = SingleTeacherDistill(**algorithm_config())
    model.architecture.fc.requires_grad_(False)
    (warning,) = warnings(model, optim_wrapper=keys(**{'fc': {}}))
    assert warning.got == "'fc', whose parameters are frozen"


def test_custom_keys_of_each_optimiser():
    wrapper = dict(constructor='kd_plugins.SeparateOptimWrapperConstructor', architecture=keys(conv1={}, widen={}))
    (warning,) = warnings(optim_wrapper=wrapper)
    assert warning.where == 'optim_wrapper.architecture.paramwise_cfg.custom_keys.widen'


def test_another_constructor_may_match_as_it_likes():
    assert warnings(optim_wrapper={'constructor': 'Theirs', **keys(nothing={})}) == []
