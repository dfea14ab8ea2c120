"""From a config file to the config that runs."""

import argparse

import pytest

from kd_plugins.compat import bridge
from kd_plugins.engine.config import add_config_arguments, apply_arguments, load_config
from kd_plugins.errors import UserError

MINIMAL = "model = dict(type='SingleTeacherDistill')\n"


def write(tmp_path, text):
    path = tmp_path / 'config.py'
    path.write_text(text)
    return path


def test_bare_names_of_ours_get_their_scope(tmp_path):
    text = MINIMAL + (
        "default_scope = 'mmpretrain'\n"
        "val_cfg = dict(type='SingleTeacherDistillValLoop')\n"
        "custom_hooks = [dict(type='StopDistillHook', stop_epoch=1), dict(type='EMAHook')]\n"
        "train_dataloader = dict(dataset=dict(type='Digits'), sampler=dict(type='DefaultSampler'))\n"
    )
    config = load_config(write(tmp_path, text))
    assert config.model.type == 'kd_plugins.SingleTeacherDistill'
    assert config.val_cfg.type == 'kd_plugins.SingleTeacherDistillValLoop'
    assert [hook.type for hook in config.custom_hooks] == ['kd_plugins.StopDistillHook', 'EMAHook']
    assert config.train_dataloader.dataset.type == 'kd_plugins.Digits'
    assert config.train_dataloader.sampler.type == 'DefaultSampler'


def test_a_scope_of_the_users_own_is_left_alone(tmp_path):
    config = load_config(write(tmp_path, "model = dict(_scope_='mmyolo', type='SingleTeacherDistill')\n"))
    assert config.model.type == 'SingleTeacherDistill'


def test_what_was_read_differently_is_told_in_one_block_on_stderr(tmp_path, capsys):
    path = write(
        tmp_path, "model = dict(_scope_='mmrazor', type='SingleTeacherDistill', teacher=dict(type='mmcls.X'))\n"
    )
    assert load_config(path).model == dict(type='kd_plugins.SingleTeacherDistill', teacher=dict(type='mmpretrain.X'))
    said = capsys.readouterr()
    assert said.out == ''
    assert said.err == (
        f'{path}: read for kd_plugins and mmpretrain\n'
        '  mmrazor.X -> kd_plugins.X: SingleTeacherDistill\n'
        '  mmcls.X -> mmpretrain.X: X\n'
    )


def test_of_several_processes_the_first_one_tells(tmp_path, capsys, monkeypatch):
    for name, value in dict(RANK='1', WORLD_SIZE='2', LOCAL_RANK='1').items():
        monkeypatch.setenv(name, value)
    load_config(write(tmp_path, "model = dict(type='mmrazor.SingleTeacherDistill')\n"))
    assert capsys.readouterr().err == ''


def test_a_native_config_is_read_in_silence(tmp_path, capsys):
    load_config(write(tmp_path, MINIMAL))
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize(
    ('text', 'where'),
    [
        ("model = dict(type='SingleTeacherDistill', teacher=dict(type='mmrazor.WideResNet'))\n", 'model.teacher.type'),
        ("model = dict(type='X', a=[dict(_scope_='mmrazor', type='WideResNet')])\n", 'model.a.0.type'),
        (MINIMAL + "optim_wrapper = dict(constructor='mmrazor.Theirs')\n", 'optim_wrapper.constructor'),
    ],
)
def test_types_of_a_mmrazor_that_is_not_installed(tmp_path, monkeypatch, text, where):
    monkeypatch.setattr(bridge, '_is_there', lambda name: name != 'mmrazor')
    with pytest.raises(UserError) as error:
        load_config(write(tmp_path, text))
    assert error.value.faults[0].where == where
    assert 'no mmrazor' in str(error.value)


def test_options_change_the_config(tmp_path):
    config = load_config(write(tmp_path, MINIMAL + 'train_cfg = dict(max_epochs=1)\n'), {'train_cfg.max_epochs': 3})
    assert config.train_cfg.max_epochs == 3


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('model = dict(', 'yntax'),
        ('model = dict(type=undefined_name)', 'undefined_name'),
        ("_base_ = './missing.py'\n" + MINIMAL, 'missing.py'),
        ('optim_wrapper = dict()', 'define the model'),
        ("model = 'ResNet'", "'ResNet'"),
        ("import torch\n_base_ = './x.py'\n", 'below _base_'),
    ],
)
def test_file_that_is_no_config(tmp_path, text, said):
    path = write(tmp_path, text)
    with pytest.raises(UserError) as error:
        load_config(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ('key', 'value', 'expected'),
    [
        ('optim_wrapper', "'SGD'", 'a dict'),
        ('train_dataloader', '[]', 'a dict'),
        ('default_hooks', "['x']", 'a dict'),
        ('param_scheduler', "'x'", 'a dict, or a list of them'),
        ('val_evaluator', "'Accuracy'", 'a dict, or a list of them'),
    ],
)
def test_a_value_where_a_dict_belongs(tmp_path, key, value, expected):
    with pytest.raises(UserError, match=f'^{key}: expected {expected}, got '):
        load_config(write(tmp_path, f'{MINIMAL}{key} = {value}\n'))


def test_what_may_be_left_out_or_listed(tmp_path):
    text = 'val_cfg = None\nval_dataloader = None\nparam_scheduler = []\nval_evaluator = [dict(type="Accuracy")]\n'
    assert load_config(write(tmp_path, MINIMAL + text)).param_scheduler == []


def test_option_that_does_not_fit(tmp_path):
    with pytest.raises(UserError, match='--cfg-options'):
        load_config(write(tmp_path, MINIMAL + 'hooks = [1]\n'), {'hooks.5': 2})


@pytest.mark.parametrize(
    ('arguments', 'text', 'work_dir'),
    [
        ([], '', 'work_dirs/config'),
        ([], "work_dir = 'mine'\n", 'mine'),
        (['--work-dir', 'given'], "work_dir = 'mine'\n", 'given'),
    ],
)
def test_work_dir(tmp_path, arguments, text, work_dir):
    path = write(tmp_path, MINIMAL + text)
    parser = argparse.ArgumentParser()
    add_config_arguments(parser)
    config = load_config(path)
    apply_arguments(config, parser.parse_args([str(path), *arguments]))
    assert config.work_dir == work_dir
    assert config.launcher == 'none'


@pytest.mark.parametrize(
    ('text', 'where'),
    [
        ('default_scope = ["mmpretrain"]\n', 'default_scope'),
        ("hooks = [dict(_scope_=3, type='X')]\n", r'hooks\.0\._scope_'),
        ("custom_imports = ['kd_plugins']\n", 'custom_imports'),
        ('custom_imports = dict(imports=[3])\n', r'custom_imports\.imports'),
        ("custom_imports = dict(import_='kd_plugins')\n", r'custom_imports\.import_'),
    ],
)
def test_a_value_where_a_name_belongs(tmp_path, text, where):
    with pytest.raises(UserError, match=f'^{where}: expected '):
        load_config(write(tmp_path, MINIMAL + text))


def test_a_config_is_named_by_the_package_that_ships_it():
    config = load_config('kd_plugins::quickstart/student_cnn_digits.py', {'train_cfg.max_iters': 4})
    assert config.filename.endswith('/configs/quickstart/student_cnn_digits.py')
    assert config.train_cfg.max_iters == 4


def test_a_base_of_this_package_is_in_the_scope_of_the_config(tmp_path):
    path = write(tmp_path, "_base_ = 'kd_plugins::quickstart/student_cnn_digits.py'\nseen = _base_.model\n")
    config = load_config(path)
    assert '_scope_' not in str(config.to_dict())
    assert config.model == config.seen == load_config('kd_plugins::quickstart/student_cnn_digits.py').model


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('kd_plugins::quickstart/student_cn_digits.py', "did you mean 'kd_plugins::quickstart/student_cnn_digits.py'"),
        ('mmpretrain::resnet/resnet19.py', "expected a config that mmpretrain ships, .* 'mmpretrain::resnet/"),
        ('nobody::digits.py', "of a package that is installed, got 'nobody::digits.py'; write for instance 'kd_plu"),
        ('no.body::digits.py', 'of a package that is installed'),
        ('::digits.py', 'of a package that is installed'),
    ],
)
def test_the_wrong_name_of_a_packages_config(name, message, tmp_path):
    with pytest.raises(UserError, match=f'^CONFIG: .*{message}'):
        load_config(name)
    path = write(tmp_path, f'_base_ = {name!r}\n')
    with pytest.raises(UserError, match=f'^{path}: _base_: .*{message}'):
        load_config(path)
