"""The folder of a refused run is as it was before."""

import pytest

from kd_plugins.engine.work_dir import work_dir_of_run
from kd_plugins.errors import Fault, UserError

REFUSAL = UserError(Fault('model', 'this', 'that', 'change it'))


def fail(path, error):
    """A run that writes something, then fails."""
    with work_dir_of_run(path):
        (path / 'log').mkdir()
        (path / 'log' / 'run.log').write_text('started')
        (path / 'config.py').write_text('')
        raise error


def test_new_folders_go(tmp_path):
    with pytest.raises(UserError):
        fail(tmp_path / 'a' / 'b', REFUSAL)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_another_run_uses_meanwhile_stays(tmp_path):
    other = tmp_path / 'work_dirs' / 'b'
    run = work_dir_of_run(tmp_path / 'work_dirs' / 'a')
    run.__enter__()
    other.mkdir()
    assert not run.__exit__(UserError, REFUSAL, None)
    assert other.exists()
    assert not (tmp_path / 'work_dirs' / 'a').exists()


def test_what_was_there_stays(tmp_path):
    (tmp_path / 'epoch_1.pth').write_text('weights')
    with pytest.raises(UserError):
        fail(tmp_path, REFUSAL)
    assert [path.name for path in tmp_path.iterdir()] == ['epoch_1.pth']


def test_an_accepted_run_keeps_everything(tmp_path):
    with work_dir_of_run(tmp_path / 'run') as path:
        (path / 'config.py').write_text('')
    assert (tmp_path / 'run' / 'config.py').exists()


def test_a_bug_keeps_its_traces(tmp_path):
    with pytest.raises(RuntimeError):
        fail(tmp_path / 'run', RuntimeError('a bug'))
    assert (tmp_path / 'run' / 'log' / 'run.log').exists()


def test_folder_below_a_file(tmp_path):
    (tmp_path / 'file').write_text('')
    with (
        pytest.raises(UserError, match='work_dir: expected a folder that can be written'),
        work_dir_of_run(tmp_path / 'file' / 'run'),
    ):
        pass
