import errno
import subprocess

import pytest
from mmengine.fileio import get_file_backend

from kd_plugins.checkpoint import BACKEND, WholeFileBackend, remove_unfinished, whole


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_with_its_digest(tmp_path):
    WholeFileBackend().put(b'content', tmp_path / 'iter_1.pth')
    assert names(tmp_path) == ['iter_1.pth', 'iter_1.pth.sha256']
    done = subprocess.run(['sha256sum', '-c', 'iter_1.pth.sha256'], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_it_is_one_of_mmengines_backends():
    assert isinstance(get_file_backend('x.pth', backend_args=dict(backend=BACKEND)), WholeFileBackend)


def test_no_moment_has_a_wrong_digest(tmp_path, monkeypatch):
    """Killed before the rename there is the old file without a digest, after it the new one without."""
    backend = WholeFileBackend()
    backend.put(b'old', tmp_path / 'file')
    files = []
    real = whole.durable_file

    def stopping(path):
        files.append(path.name)
        if path.name == 'file.sha256':
            raise KeyboardInterrupt
        return real(path)

    monkeypatch.setattr(whole, 'durable_file', stopping)
    with pytest.raises(KeyboardInterrupt):
        backend.put(b'new', tmp_path / 'file')
    assert files == ['file', 'file.sha256']
    assert names(tmp_path) == ['file']
    assert (tmp_path / 'file').read_bytes() == b'new'


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    backend = WholeFileBackend()
    backend.put(b'old', tmp_path / 'file')

    def full(descriptor):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr('kd_plugins.durable.os.fsync', full)
    with pytest.raises(OSError, match='No space left'):
        backend.put(b'new', tmp_path / 'file')
    assert (tmp_path / 'file').read_bytes() == b'old'
    assert not list(tmp_path.glob('*.tmp'))


def test_removals_wait_for_the_end(tmp_path):
    backend = WholeFileBackend()
    backend.put(b'old', tmp_path / 'old')
    with backend.removing_afterwards():
        with backend.removing_afterwards():
            backend.remove(tmp_path / 'old')
        backend.put(b'new', tmp_path / 'new')
        assert (tmp_path / 'old').exists()
    assert names(tmp_path) == ['new', 'new.sha256']


def write_instead(backend, old):
    with backend.removing_afterwards():
        backend.remove(old)
        raise OSError('full')


def test_nothing_is_removed_after_an_exception(tmp_path):
    backend = WholeFileBackend()
    backend.put(b'old', tmp_path / 'old')
    with pytest.raises(OSError, match='full'):
        write_instead(backend, tmp_path / 'old')
    assert (tmp_path / 'old').exists()
    backend.remove(tmp_path / 'old')
    assert names(tmp_path) == []


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / 'iter_3.pth.tmp').write_bytes(b'half')
    (tmp_path / 'iter_2.pth').write_bytes(b'whole')
    remove_unfinished(tmp_path)
    assert names(tmp_path) == ['iter_2.pth']
