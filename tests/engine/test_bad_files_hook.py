"""Bad files are listed in the log as they are found."""

from types import SimpleNamespace

import pytest
from image_folders import damage, write_config, write_images

from kd_plugins.datasets.bad_files import BadFiles
from kd_plugins.engine import BadFilesHook
from kd_plugins.engine.config import load_config
from kd_plugins.engine.launch import prepare_training, run_training

BY_ITERATIONS = (
    'train_cfg = dict(by_epoch=False, max_iters=9)\nlog_processor = dict(by_epoch=False)\n'
    'default_hooks = dict(logger=dict(interval=3), checkpoint=dict(by_epoch=False))\n'
)


@pytest.fixture
def told():
    lines = []
    files = BadFiles()
    loader = SimpleNamespace(dataset=SimpleNamespace(bad_files=files))
    runner = SimpleNamespace(
        train_loop=SimpleNamespace(dataloader=loader), logger=SimpleNamespace(warning=lines.append), hooks=[], iter=0
    )
    return files, runner, lines


def test_each_is_told_once(told):
    files, runner, lines = told
    hook = BadFilesHook()
    hook.after_train_epoch(runner)
    assert lines == []
    files.add('a.jpg', 'is empty')
    hook.after_train_epoch(runner)
    hook.after_train_epoch(runner)
    files.add('b.jpg', 'does not exist')
    hook.after_train_iter(runner, 0)
    assert lines == [
        '1 bad file (1 in all) was replaced by another sample:\n  a.jpg: is empty',
        '1 bad file (2 in all) was replaced by another sample:\n  b.jpg: does not exist',
    ]


def test_ten_are_named(told):
    files, runner, lines = told
    for index in range(12):
        files.add(f'{index}.jpg', 'is empty')
    BadFilesHook().after_train_epoch(runner)
    (line,) = lines
    assert line.startswith('12 bad files (12 in all) were replaced by other samples:\n')
    assert line.endswith('\n  9.jpg: is empty\n  …')


def test_data_that_are_not_wrapped(told):
    _, runner, lines = told
    runner.train_loop.dataloader.dataset = object()
    BadFilesHook().after_train_epoch(runner)
    assert lines == []


@pytest.mark.parametrize('more', ['', BY_ITERATIONS])
def test_a_run_tells_of_them(tmp_path, more):
    root = tmp_path / 'data'
    write_images(root / 'train')
    write_images(root / 'val')
    for index in range(2):
        damage(root / 'train' / 'cat' / f'{index}.jpg', 'half')
    path = write_config(tmp_path, root, more=f'{more}bad_files = dict(replace=2)\n')
    config = load_config(path, dict(work_dir=str(tmp_path / 'run'), launcher='none', log_level='WARNING'))
    run_training(prepare_training(config))
    (log,) = (tmp_path / 'run').glob('*/*.log')
    text = log.read_text()
    assert text.count('cat/0.jpg: is cut off') == text.count('cat/1.jpg: is cut off') == 1
    assert '(2 in all)' in text
