"""Where a config's data are wrapped, and what is said of a bad file."""

import pytest
from cached import CONFIGS, SMALL, digits_config, write_cache
from image_folders import damage, write_config, write_images
from mmengine.config import Config
from torch.utils.data import DataLoader

from kd_plugins.datasets import Digits, ReplayedViews, SoundSamples
from kd_plugins.engine.cache_config import use_teacher_cache, views_of
from kd_plugins.engine.config import load_config
from kd_plugins.engine.launch import complete_config, prepare_training, run_training
from kd_plugins.engine.run_result import describe_config
from kd_plugins.engine.sound_data import as_written, bad_files_refused, use_sound_data
from kd_plugins.errors import UserError
from kd_plugins.preflight import inspect_training


def quiet(path, work_dir, **options):
    defaults = {'work_dir': str(work_dir), 'launcher': 'none', 'log_level': 'ERROR'}
    return load_config(path, {**defaults, **options})


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / 'data'
    write_images(root / 'train')
    write_images(root / 'val')
    return tmp_path


def small_config(folder, more='', **options):
    return quiet(write_config(folder, folder / 'data', more=more), folder / 'run', **options)


def test_training_data_may_be_replaced_and_the_others_not(folder):
    config = small_config(folder, more='bad_files = dict(replace=3)\n')
    written = Config(config.to_dict())
    use_sound_data(config)
    wrapped = config.train_dataloader.dataset
    assert wrapped.type == 'kd_plugins.SoundSamples'
    assert wrapped.dataset == written.train_dataloader.dataset
    assert (wrapped.replace, wrapped.since, wrapped.journal) == (3, 0, str(folder / 'run' / 'bad_files.jsonl'))
    inner = written.val_dataloader.dataset
    assert config.val_dataloader.dataset == dict(type='kd_plugins.SoundSamples', dataset=inner)
    assert as_written(config._cfg_dict)['train_dataloader'] == written.train_dataloader


def test_a_config_that_a_run_has_dumped_is_wrapped_once(folder):
    config = small_config(folder)
    use_sound_data(config)
    (folder / 'run').mkdir()
    (folder / 'run' / 'bad_files.jsonl').write_text('1234567\n')
    once = Config(config.to_dict())
    use_sound_data(config)
    assert config.train_dataloader.dataset.since == 8
    config.train_dataloader.dataset.since = 0
    assert config.to_dict() == once.to_dict()


def test_objects_stay_as_they_are(tmp_path):
    config = quiet(CONFIGS / 'kd_vgg_cnn_digits.py', tmp_path)
    dataset = Digits()
    config._cfg_dict.train_dataloader['dataset'] = dataset
    config.val_dataloader = None
    use_sound_data(config)
    assert config.train_dataloader.dataset is dataset
    assert config.val_dataloader is None


def test_it_goes_around_the_views_of_a_cache(tmp_path):
    config = digits_config(tmp_path)
    cache = write_cache(tmp_path, config, SMALL)
    config.model.teacher_cache = str(cache)
    runner = prepare_training(config)
    dataset = runner.train_dataloader.dataset
    assert isinstance(dataset, SoundSamples)
    assert isinstance(dataset.dataset, ReplayedViews)
    assert runner.model.teacher_cache.checked
    # hooks find the data set where it was written
    assert runner.cfg.train_dataloader.dataset.type == 'kd_plugins.ReplayedViews'
    # the config that it has dumped trains too
    (dumped,) = tmp_path.rglob('vis_data/config.py')
    again = Config.fromfile(dumped)
    use_teacher_cache(again)
    assert views_of(again) == dict(views=2, seed=0)
    assert again.train_dataloader.dataset.dataset.type == 'kd_plugins.ReplayedViews'
    assert again.train_dataloader.dataset.dataset.dataset.type == 'kd_plugins.Digits'


def test_what_has_to_be_equal_of_two_runs_is_described_as_written(folder):
    config = small_config(folder)
    assert describe_config(config)['data']['dataset']['type'] == 'CustomDataset'
    completed = small_config(folder)
    complete_config(completed)
    assert completed.train_dataloader.dataset == config.train_dataloader.dataset


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ('dict(replaced=1)', "bad_files.replaced: expected one of replace, got 'replaced'; did you mean 'replace'?"),
        ('dict(replace=-1)', 'bad_files.replace: expected a whole number from 0 on, got -1'),
        ('dict(replace=True)', 'bad_files.replace: expected a whole number from 0 on, got True'),
        ('dict(replace="2")', "bad_files.replace: expected a whole number from 0 on, got '2'"),
        ('3', 'bad_files: expected a dict, got 3'),
    ],
)
def test_other_keys_and_values_are_refused(folder, given, expected):
    config = small_config(folder, more=f'bad_files = {given}\n')
    assert any(expected in str(fault) for fault in inspect_training(config).faults)
    with pytest.raises(UserError) as caught:
        prepare_training(config)
    assert expected in str(caught.value)
    assert not (folder / 'run').exists()


@pytest.mark.parametrize('given', ['dict(replace=0)', 'dict()', 'None'])
def test_none_are_replaced_by_default(folder, given):
    damage(folder / 'data' / 'train' / 'cat' / '1.jpg', 'half')
    runner = prepare_training(small_config(folder, more=f'bad_files = {given}\n'))
    with pytest.raises(UserError, match=r'^train_dataloader\.dataset: .*1\.jpg, which is cut off.*bad_files=dict'):
        run_training(runner)


@pytest.mark.parametrize('where', ['val', 'test'])
def test_the_data_that_a_bad_file_is_of(folder, where):
    more = "test_dataloader = dict(loader, dataset=dict(**dataset, data_prefix='test'))\nbad_files = dict(replace=9)\n"
    write_images(folder / 'data' / 'test')
    damage(folder / 'data' / where / 'cat' / '1.jpg', 'half')
    runner = prepare_training(small_config(folder, more=more))
    with pytest.raises(UserError) as caught, bad_files_refused(runner):
        runner.val_loop.run() if where == 'val' else runner.test()
    (fault,) = caught.value.faults
    assert fault.where == f'{where}_dataloader.dataset'
    assert fault.advice == 'put a whole file in its place, or leave it out'


def test_a_data_set_that_cannot_be_built_is_blamed_where_it_was_written(folder):
    config = small_config(folder, **{'train_dataloader.dataset.no_such': 1})
    with pytest.raises(UserError) as caught:
        prepare_training(config)
    assert {fault.where for fault in caught.value.faults} == {'train_dataloader.dataset.no_such'}


def test_ones_own_data_set_and_hooks_see_no_difference(folder):
    runner = prepare_training(small_config(folder))
    dataset = runner.train_dataloader.dataset
    assert isinstance(runner.train_dataloader, DataLoader)
    assert dataset.CLASSES == dataset.metainfo['classes'] == ('cat', 'dog')
    assert runner.visualizer.dataset_meta == dict(classes=('cat', 'dog'))
