"""A training refuses a cache that is not of its teacher, its data or its libraries, and says which part differs."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from cached import digits_config, teacher_weights, write_cache

from kd_plugins.datasets import Digits
from kd_plugins.engine import launch
from kd_plugins.engine.cache_config import use_teacher_cache, wrap_training_data
from kd_plugins.engine.launch import prepare_training, run_training
from kd_plugins.errors import UserError
from kd_plugins.preflight import build_from_config
from kd_plugins.teacher.cache import MANIFEST, TeacherCache

ITERATIONS = dict(train_cfg__max_iters=2)


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp('written')
    return write_cache(folder, digits_config(folder))


@pytest.fixture
def copied(written, tmp_path):
    """A copy of the cache, and a folder for runs with its teacher."""
    shutil.copytree(written, tmp_path / 'cache')
    shutil.copy(written.parent / 'teacher_0.pth', tmp_path)
    return tmp_path


def config_of(folder, **options):
    return digits_config(folder, **{**ITERATIONS, 'model__teacher_cache': str(folder / 'cache'), **options})


def refused(config):
    with pytest.raises(UserError) as caught:
        prepare_training(config)
    assert not Path(config.work_dir).exists()
    return str(caught.value)


def test_a_cache_that_fits_is_trained_from_without_its_teacher(copied):
    runner = prepare_training(
        config_of(copied, model__distiller__distill_losses=dict(loss_kl=dict(loss_weight=3, tau=2)))
    )
    assert runner.model.teacher_cache.checked

    def fails(*args):
        raise AssertionError('the teacher ran')

    runner.model.run_teacher = fails
    run_training(runner)
    assert runner.iter == 2


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(train_dataloader__dataset__pipeline__1__degrees=5),
            r'\(pipeline: 0\.1\.degrees\): expected 10, as cached, got 5; train with what was cached',
        ),
        (dict(train_dataloader__dataset__num_images=50), r'\(data set: samples\): expected 40, as cached, got 50'),
        (dict(model__teacher__backbone__stages=((64, 64), (128,), (256,))), r'\(teacher architecture: teacher\)'),
        (dict(data_preprocessor__mean=[1.0, 2.0, 3.0]), r'\(preprocessing: data_preprocessor\.mean\.0\)'),
        (
            dict(model__distiller__distill_losses__loss_kl__teacher='head'),
            r"\(records\): expected .*'source': 'head\.fc'.*as cached, got .*'source': 'head'.*loss_kl\.teacher",
        ),
    ],
    ids=['pipeline', 'size', 'architecture', 'preprocessing', 'records'],
)
def test_a_change_of_the_config_is_named(copied, changes, message):
    import re

    config = config_of(copied)
    if 'model__teacher__backbone__stages' in changes:
        config = config_of(copied, **changes)
    elif 'data_preprocessor__mean' in changes:
        config.data_preprocessor.mean = changes['data_preprocessor__mean']
    else:
        config = config_of(copied, **changes)
    if 'model__teacher__backbone__stages' in changes:
        config.model.teacher_ckpt = str(teacher_weights(copied, config.model.teacher, seed=7))
    assert re.search(rf'model\.teacher_cache {message}', refused(config), re.S)


def test_another_teacher_is_named(copied):
    config = config_of(copied)
    config.model.teacher_ckpt = str(teacher_weights(copied, config.model.teacher, seed=1))
    message = refused(config)
    assert 'model.teacher_cache (teacher weights: teacher)' in message
    assert message.count(', as cached') == 1  # and nothing else


def test_another_order_of_the_data_set_is_named(copied, monkeypatch):
    load = Digits.load_data_list
    monkeypatch.setattr(Digits, 'load_data_list', lambda self: load(self)[::-1])
    assert 'model.teacher_cache (data set: content)' in refused(config_of(copied))


def test_other_pixels_are_named(copied, monkeypatch):
    # a change that neither the config nor the annotations show
    call = Digits.prepare_data

    def darker(self, index):
        item = call(self, index)
        item['inputs'] = item['inputs'] // 2
        return item

    monkeypatch.setattr(Digits, 'prepare_data', darker)
    assert 'model.teacher_cache (pixels: row 0)' in refused(config_of(copied))


def edit_manifest(folder, **changes):
    path = folder / 'cache' / MANIFEST
    content = json.loads(path.read_text())
    for key, value in changes.items():
        if isinstance(value, dict):
            for part, inner in value.items():
                content[key][part].update(inner)
        else:
            content[key] = value
    path.write_text(json.dumps(content))


def test_another_version_is_named(copied):
    edit_manifest(copied, fingerprint=dict(versions=dict(torchvision='0.1')))
    import torchvision

    version = torchvision.__version__.partition('+')[0]
    assert f'(versions: torchvision): expected 0.1, as cached, got {version}' in refused(config_of(copied))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [(dict(state='writing'), 'expected a complete cache'), (dict(format=0), r'expected a cache in format 1')],
)
def test_a_cache_that_cannot_be_used_is_refused(copied, changes, message):
    edit_manifest(copied, **changes)
    assert message in refused(config_of(copied))


def test_a_file_that_is_cut_off_is_named(copied):
    path = copied / 'cache' / '00_head_fc' / '00002.npy'
    path.write_bytes(path.read_bytes()[:-1])
    assert f'{path} has 447 bytes instead of 448' in refused(config_of(copied))  # a header of 128, 8 rows of 10 float32


def test_no_cache_is_refused_before_anything(copied):
    message = refused(config_of(copied, model__teacher_cache=str(copied / 'nowhere')))
    assert 'nowhere, which does not exist; write it: python tools/cache_teacher.py CONFIG' in message


@pytest.mark.parametrize(
    ('given', 'faults'), [(dict(views=2, seed=0), 0), (dict(views=4, seed=0), 1), (dict(views=3, seed=9), 2)]
)
def test_views_of_the_config_have_to_be_those_of_the_cache(copied, given, faults):
    config = config_of(copied)
    wrap_training_data(config, **given)
    if not faults:
        use_teacher_cache(config)
        assert config.train_dataloader.dataset.dataset.type == 'kd_plugins.Digits'  # wrapped once
        return
    message = refused(config)
    assert message.count('as in') == faults


def test_mixup_and_a_cache_are_refused(copied):
    augments = dict(model__data_preprocessor=dict(batch_augments=dict(augments=dict(type='Mixup', alpha=0.2))))
    message = refused(config_of(copied, **augments))
    assert 'model.data_preprocessor.batch_augments: expected images that are not mixed' in message
    assert 'Mixup' in message


def test_testing_needs_no_cache(copied):
    config = config_of(copied)
    runner = prepare_training(config)
    run_training(runner)
    shutil.rmtree(copied / 'cache')

    checked = config_of(copied, load_from=str(copied / 'run' / 'iter_2.pth'), test_dataloader__dataset__num_images=20)
    checked.work_dir = str(copied / 'test')
    assert 'accuracy/top1' in launch.test(checked)


def test_samples_without_rows_are_refused_when_they_come(copied):
    # as under mmpretrain's own tools, which add no views
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmpretrain'):
        algorithm = build_from_config(config_of(copied))
        batch = dict(inputs=torch.zeros(2, 3, 8, 8, dtype=torch.uint8), data_samples=None)
        data = algorithm.data_preprocessor(batch, True)
        with pytest.raises(UserError, match=r'train_dataloader\.dataset: expected data samples of ReplayedViews'):
            algorithm.loss(**data)


def test_a_teacher_is_checked_where_no_tool_of_ours_did(copied):
    from mmengine.registry import DefaultScope

    config = config_of(copied)
    config.model.teacher_ckpt = str(teacher_weights(copied, config.model.teacher, seed=1))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        algorithm = build_from_config(config)
        with pytest.raises(UserError, match=r'model\.teacher_cache \(teacher weights: teacher\)'):
            algorithm.loss(torch.zeros(1, 3, 8, 8), [])


def test_a_stopped_distillation_reads_nothing(copied):
    from mmengine.registry import DefaultScope
    from mmpretrain.structures import DataSample

    config = config_of(copied, model__teacher_cache=str(copied / 'nowhere'))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        algorithm = build_from_config(config)
    algorithm.distillation_stopped = True
    found = algorithm.loss(torch.zeros(1, 3, 8, 8), [DataSample().set_gt_label(torch.tensor(1))])
    assert 'student.loss' in found
    assert isinstance(algorithm.teacher_cache, TeacherCache)
