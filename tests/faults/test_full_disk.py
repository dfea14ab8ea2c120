"""A disk that fills up: one message, the earlier checkpoints whole, and the same student once there is room."""

import contextlib
import subprocess

import pytest
from tool_process import run_tool
from trainings import weights_of, write_config

from kd_plugins.checkpoint import newest_whole_checkpoint

BODY = """
train_cfg = dict(max_iters=30, val_interval=10)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=5, max_keep_ckpts=-1, by_epoch=False))
"""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own for the work_dir; skipped where one may not be mounted."""
    disk = tmp_path / 'disk'
    disk.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', str(disk)]
    with contextlib.suppress(FileNotFoundError):
        if subprocess.run(mount, capture_output=True).returncode == 0:
            yield disk
            subprocess.run(['umount', '-l', str(disk)], check=True)
            return
    pytest.skip('a tmpfs cannot be mounted here')


@pytest.mark.slow
def test_a_full_disk(small_disk, tmp_path):
    config = write_config(tmp_path, BODY)
    assert run_tool('train', config, '--work-dir', 'whole', folder=tmp_path).status == 0
    run = small_disk / 'run'

    done = run_tool('train', config, '--work-dir', run, folder=tmp_path)

    assert done.status == 2, done.stderr
    assert done.stderr.count('error:') == 1
    assert 'No space left on device' in done.stderr
    assert '--resume' in done.stderr
    assert 'Traceback' not in done.stderr
    assert 'Logging error' not in done.stderr
    found = newest_whole_checkpoint(run)
    assert found.passed_over == {}
    assert found.path.name in {f'iter_{n}.pth' for n in (5, 10, 15, 20, 25)}
    assert not list(run.glob('*.tmp'))

    again = run_tool('train', config, '--work-dir', run, '--resume', folder=tmp_path)
    assert again.status == 2, again.stderr
    assert again.stderr.count('error:') == 1
    assert 'Traceback' not in again.stderr
    assert newest_whole_checkpoint(run).path == found.path

    subprocess.run(['mount', '-o', 'remount,size=60m', str(small_disk)], check=True)
    done = run_tool('train', config, '--work-dir', run, '--resume', folder=tmp_path)

    assert done.status == 0, done.stderr
    assert weights_of(run / 'iter_30.pth') == weights_of(tmp_path / 'whole/iter_30.pth')
