"""Keys that are allowed and do nothing are warned about, and a user's own variables are not."""

import ast
from pathlib import Path

import pytest

pytest.importorskip('mmrazor', reason='pip install kd_plugins[parity]')

from mmengine.config import Config
from mmengine.utils import get_installed_path
from shipped import CLASSIFIERS, CONFIGS, DENSE
from toy import ToyClassifier, algorithm_config, runner_config

from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.compat.catalogue import MMCLS_CONFIGS, mmcls_folder
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


@pytest.mark.parametrize('name', MMCLS_CONFIGS)
def test_no_warning_over_a_config_of_mmrazor(name):
    found = unused_key_warnings(load_config(mmcls_folder() / name), ALGORITHM)
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
    # written otherwise, meant alike
    same = dict(mean=(1.0,), std=(2.0,), to_rgb=False)
    assert warnings(**preprocessors(same, data_preprocessor=dict(mean=[1.0], std=[2.0]))) == []


def test_the_preflight_tells(tmp_path):
    wrapper = dict(optimizer=dict(type='SGD', lr=0.1), paramwise_cfg=dict(custom_keys=dict(nothing={})))
    config = Config(runner_config(tmp_path, train_dataloder=dict(), optim_wrapper=wrapper))
    found = {warning.where for warning in inspect_training(config).warnings}
    assert {'train_dataloder', 'optim_wrapper.paramwise_cfg.custom_keys.nothing'} <= found


def test_a_name_that_says_more_is_a_variable():
    assert misspelt_keys(['train_dataloader_cfg', 'model_a']) == []
