"""Keys that are allowed and do nothing are warned about, and a user's own variables are not."""

import ast
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.utils import get_installed_path
from shipped import CLASSIFIERS, CONFIGS, DENSE
from toy import ToyClassifier, algorithm_config, runner_config

from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.engine.config import load_config
from kd_plugins.errors import UserError
from kd_plugins.preflight.check import build_from_config, inspect_training
from kd_plugins.preflight.parts import part_faults
from kd_plugins.preflight.unused_keys import misspelt_keys, unused_key_warnings

ALGORITHM = SingleTeacherDistill(**algorithm_config())


def config_with(**changes):
    return Config(runner_config('', **changes))


def warnings(model=ALGORITHM, /, **changes):
    return unused_key_warnings(config_with(**changes), model)


def test_a_config_without_any():
    assert warnings() == []


@pytest.mark.parametrize(
    ('key', 'advice'),
    [
        ('train_dataloder', "did you mean 'train_dataloader'?"),
        ('optim_wraper', "did you mean 'optim_wrapper'?"),
        ('param_schedulers', "did you mean 'param_scheduler'?"),
        ('custom_hook', "did you mean 'custom_hooks'?"),
        ('load_form', "did you mean 'load_from'?"),
        ('bad_file', "did you mean 'bad_files'?"),
    ],
)
def test_a_misspelt_key(key, advice):
    (warning,) = warnings(**{key: dict()})
    assert (warning.where, warning.advice) == (key, advice)


@pytest.mark.parametrize('key', ['tau', 'num_classes', 'teacher_ckpt', 'train_pipeline', 'test_pipeline', 'model2'])
def test_a_variable_of_the_users_own(key):
    assert warnings(**{key: 4}) == []


def test_a_part_that_is_missing_for_its_name_is_misspelt():
    config = config_with()
    config.train_dataloder = config.pop('train_dataloader')
    (fault,) = part_faults(config, 'train')
    assert fault.advice == "is 'train_dataloder' meant to be 'train_dataloader'?"


def assigned_names(path):
    """Everything that a config file assigns at its top level."""
    nodes = ast.parse(path.read_text()).body
    targets = [target for node in nodes if isinstance(node, ast.Assign) for target in node.targets]
    return {target.id for target in targets if isinstance(target, ast.Name) and target.id != '_base_'}


def test_no_name_of_the_configs_that_are_installed_or_shipped_is_taken_for_a_misspelling():
    folders = [Path(get_installed_path(package)) / '.mim' / 'configs' for package in ('mmpretrain', 'mmrazor')]
    files = [file for folder in (*folders, CONFIGS) for file in folder.rglob('*.py')]
    assert len(files) > 900
    names = set().union(*map(assigned_names, files))
    assert len(names) > 150
    # a true one, of mmrazor's search by DARTS
    assert [fault.where for fault in misspelt_keys(sorted(names))] == ['find_unused_parameter']


@pytest.mark.parametrize('path', CLASSIFIERS + DENSE, ids=lambda path: path.stem)
def test_no_warning_over_a_shipped_config(path):
    """What needs its own models, the names of parameters, is in tests/test_configs.py."""
    try:
        config = load_config(path)
    except UserError:
        assert path in DENSE
        return
    model = ALGORITHM if 'architecture' in config.model else ToyClassifier()
    found = unused_key_warnings(config, model)
    assert [warning for warning in found if 'custom_keys' not in warning.where] == []


@pytest.mark.parametrize('key', ['distiller', 'teacher', 'teacher_cfg', 'student_cfg', 'teacher_ckpt'])
def test_parts_of_a_distillation_beside_a_plain_model(key):
    value = 'teacher.pth' if key == 'teacher_ckpt' else dict(type='X')
    changes = {'model': dict(type='ToyClassifier'), key: value}
    (warning,) = warnings(ToyClassifier(), **changes)
    assert warning.where == key
    assert warning.got == 'a plain ToyClassifier, which trains alone'
    assert 'SingleTeacherDistill' in warning.advice
    # beside an algorithm it is a variable, which the model's config may use
    assert warnings(**{key: value}) == []


def preprocessors(inner, **changes):
    model = dict(type='kd_plugins.SingleTeacherDistill', **algorithm_config())
    model['architecture']['data_preprocessor'] = inner
    return dict(model={**model, **changes.pop('model', {})}, **changes)


def test_preprocessing_of_the_student_under_another_at_the_top():
    outer, inner = dict(mean=[1.0], std=[2.0]), dict(type='ImgDataPreprocessor', mean=[3.0], std=[2.0])
    (warning,) = warnings(**preprocessors(inner, data_preprocessor=outer))
    assert warning.where == 'model.architecture.data_preprocessor'
    assert warning.expected.startswith('the same as data_preprocessor,')
    assert warning.got == 'mean=[3.0] beside [1.0]'
    (warning,) = warnings(**preprocessors(inner, model=dict(data_preprocessor=outer), data_preprocessor=inner))
    assert warning.expected.startswith('the same as model.data_preprocessor,')


def test_the_one_at_the_top_wins():
    inner = dict(type='ImgDataPreprocessor', mean=[3.0] * 3, std=[2.0] * 3)
    outer = {**inner, 'mean': [1.0] * 3}
    model = build_from_config(config_with(**preprocessors(inner, data_preprocessor=outer)))
    assert model.data_preprocessor.mean.flatten().tolist() == outer['mean']


@pytest.mark.parametrize('inner', [None, dict(mean=[1.0])])
def test_preprocessing_that_is_the_same(inner):
    assert warnings(**preprocessors(inner, data_preprocessor=dict(mean=[1.0], std=[2.0]))) == []
    assert warnings(**preprocessors(dict(mean=[3.0]))) == []


ITERATIONS, EPOCHS = dict(by_epoch=False, max_iters=20), dict(by_epoch=True, max_epochs=3)


@pytest.mark.parametrize(
    ('loop', 'schedule', 'where'),
    [
        (ITERATIONS, dict(type='MultiStepLR', milestones=[30]), 'param_scheduler.by_epoch'),
        (ITERATIONS, [dict(type='CosineAnnealingLR', T_max=9, by_epoch=True)], 'param_scheduler.0.by_epoch'),
        (ITERATIONS, dict(architecture=[dict(type='ConstantLR')]), 'param_scheduler.architecture.0.by_epoch'),
        (dict(type='IterBasedTrainLoop', max_iters=9), dict(type='StepLR', step_size=2), 'param_scheduler.by_epoch'),
        # 8 images, 4 a batch: 6 iterations
        (EPOCHS, dict(type='MultiStepLR', by_epoch=False, milestones=[6, 9]), 'param_scheduler.milestones'),
        (EPOCHS, [dict(type='LinearLR', by_epoch=False, begin=7, end=9)], 'param_scheduler.0.begin'),
    ],
)
def test_a_schedule_that_counts_what_the_loop_does_not(loop, schedule, where):
    (warning,) = warnings(train_cfg=loop, param_scheduler=schedule)
    assert warning.where == where
    assert 'no step before the end' in warning.got


@pytest.mark.parametrize(
    ('loop', 'schedule'),
    [
        (ITERATIONS, dict(type='MultiStepLR', by_epoch=False, milestones=[30])),
        (ITERATIONS, dict(type='MultiStepLR', by_epoch=True, milestones=[30], convert_to_iter_based=True)),
        (EPOCHS, dict(type='MultiStepLR', milestones=[30])),
        (EPOCHS, dict(type='MultiStepLR', by_epoch=False, milestones=[5, 9])),
        (EPOCHS, [dict(type='LinearLR', by_epoch=False, end=9)]),
        (EPOCHS, None),
        (EPOCHS, [3, dict(type='MultiStepLR', by_epoch=False, milestones='x')]),
    ],
)
def test_schedules_that_are_right_or_are_refused_elsewhere(loop, schedule):
    assert warnings(train_cfg=loop, param_scheduler=schedule) == []


def keys(**custom):
    return dict(optimizer=dict(type='SGD', lr=0.1), paramwise_cfg=dict(custom_keys=custom))


@pytest.mark.parametrize(
    ('custom', 'said'),
    [
        ({'architecture.con1': {}}, "'architecture.con1', which is in none"),
        ({'backbone': {}, 'fc': {}}, "'backbone', which is in none"),
        # .conv1.weight would be a parameter of the algorithm itself
        ({'.architecture': {}}, "'.architecture', which is in none"),
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


def test_the_preflight_tells(tmp_path):
    config = Config(runner_config(tmp_path, train_dataloder=dict(), optim_wrapper=keys(nothing={})))
    found = {warning.where for warning in inspect_training(config).warnings}
    assert {'train_dataloder', 'optim_wrapper.paramwise_cfg.custom_keys.nothing'} <= found
