import errno

import pytest

from kd_plugins.durable import durable_file


def test_a_file_is_there_at_the_end(tmp_path):
    path = tmp_path / 'file'
    with durable_file(path) as file:
        file.write(b'whole')
        assert not path.exists()
    assert path.read_bytes() == b'whole'
    assert list(tmp_path.iterdir()) == [path]


def write_half(path, error):
    with durable_file(path) as file:
        file.write(b'half')
        raise error


@pytest.mark.parametrize('error', [OSError(errno.ENOSPC, 'No space left on device'), KeyboardInterrupt()])
def test_an_exception_leaves_what_was_there(tmp_path, error):
    path = tmp_path / 'file'
    path.write_bytes(b'before')
    with pytest.raises(type(error)):
        write_half(path, error)
    assert path.read_bytes() == b'before'
    assert list(tmp_path.iterdir()) == [path]
