"""Files of a cache: whole or not there, checked by their size, read by rows."""

import numpy as np
import pytest
import torch

from kd_plugins import durable
from kd_plugins.errors import UserError
from kd_plugins.teacher.cache import Array, Manifest, Part, ShardFiles, shards

PARTS = Part('small', (3,), 'float16'), Part('large', (2, 70, 70), 'float32')  # 6 and 39,200 bytes a row


@pytest.fixture
def stored(tmp_path):
    """Files of 11 rows, 4 in a shard, and what is in them."""
    arrays = tuple(Array({'source': part.folder}, (part,)) for part in PARTS)
    manifest = Manifest(11, 1, 0, 2, 4, arrays, {})
    files = ShardFiles(tmp_path / 'cache', manifest, 'model.teacher_cache')
    generator = np.random.default_rng(0)
    columns = [generator.normal(size=(11, *part.shape)).astype(part.dtype) for part in PARTS]
    for shard in range(manifest.shards):
        rows = manifest.rows_of(shard)
        files.write(shard, [column[rows.start : rows.stop] for column in columns])
    return files, columns


@pytest.mark.parametrize('open_files', [1, 256])
@pytest.mark.parametrize('rows', [[10, 0, 5, 5, 3], [4, 7, 5], []], ids=['of all shards', 'of one', 'none'])
def test_rows_are_gathered_in_their_order(stored, monkeypatch, open_files, rows):
    monkeypatch.setattr(shards, 'OPEN_FILES', open_files)
    files, columns = stored
    rows = np.array(rows, dtype=np.int64)
    for part, column in zip(PARTS, columns, strict=True):
        out = np.zeros((len(rows), *part.shape), part.dtype)
        files.gather(part, rows, out)
        assert np.array_equal(out, column[rows])
    assert len(files._open) <= open_files


def test_files_are_plain_npy_of_the_size_that_is_foretold(stored):
    files, columns = stored
    for part, column in zip(PARTS, columns, strict=True):
        for shard in range(3):
            path = files.path(part, shard)
            assert path.stat().st_size == files.size(part, shard)
            rows = files.manifest.rows_of(shard)
            assert np.array_equal(np.load(path, allow_pickle=False), column[rows.start : rows.stop])
    assert files.total_size() == sum(path.stat().st_size for path in files.folder.rglob('*.npy'))
    assert files.missing() == []
    files.check()


@pytest.mark.parametrize('how', ['cut off', 'missing'])
def test_a_spoilt_file_is_named_and_written_again(stored, how):
    files, columns = stored
    path = files.path(PARTS[1], 1)
    whole = path.read_bytes()
    path.unlink() if how == 'missing' else path.write_bytes(whole[:-1])
    # as a kill leaves it
    path.with_suffix('.npy.tmp').write_bytes(b'half of it')

    with pytest.raises(UserError, match=r'large/00001\.npy (is missing|has \d+ bytes instead of \d+)'):
        files.check()
    assert files.missing() == [1]
    files.write(1, [column[4:8] for column in columns])
    assert path.read_bytes() == whole
    assert not list(files.folder.rglob('*.tmp'))


def test_a_file_of_another_shape_is_refused(stored):
    files, _ = stored
    path = files.path(PARTS[0], 0)
    np.save(path, np.zeros((3, 4), np.float16))  # 24 values, as many bytes
    assert path.stat().st_size == files.size(PARTS[0], 0)
    with pytest.raises(UserError, match=r'expected float16 \(4, 3\), got float16 \(3, 4\) in .*00000\.npy'):
        files.gather(PARTS[0], np.array([0]), np.zeros((1, 3), np.float16))


def test_a_pickle_is_never_loaded(stored):
    files, _ = stored
    path = files.path(PARTS[0], 0)
    np.save(path, np.array([torch.Size] * 4, dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r'00000\.npy, which cannot be read'):
        files.gather(PARTS[0], np.array([0]), np.zeros((1, 3), np.float16))


def test_a_disk_that_fills_up_leaves_no_half_file(stored, monkeypatch):
    files, columns = stored
    files.path(PARTS[0], 2).unlink()

    def full(handle):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(durable.os, 'fsync', full)
    with pytest.raises(UserError, match=r'small/00002\.npy \(.*No space left on device\); make room, and run it again'):
        files.write(2, [column[8:] for column in columns])
    assert files.missing() == [2]
    assert not list(files.folder.rglob('*.tmp'))
