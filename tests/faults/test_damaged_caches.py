"""Teacher caches that were cut off, altered or exchanged: refused, found by ``--verify``, or mended by a new write."""

import shutil

import pytest
from tool_process import run_tool
from trainings import write_config, write_teacher

BODY = 'train_cfg = dict(max_iters=4, val_interval=4)\n'
ROWS = 200  # 100 images of the student's, 2 views


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp('written')
    config = write_config(folder, BODY)
    done = run_tool('cache_teacher', config, '--views', 2, '--out', 'cache', folder=folder)
    assert done.status == 0, done.stderr
    return folder, config


@pytest.fixture
def cache(written, tmp_path):
    shutil.copytree(written[0] / 'cache', tmp_path / 'cache')
    return tmp_path / 'cache'


def shard_of(cache):
    return next(iter(sorted(cache.rglob('*.npy'))))


def train(config, cache, folder):
    return run_tool(
        'train', config, '--work-dir', 'run', '--cfg-options', f'model.teacher_cache={cache}', folder=folder
    )


def truncate(cache):
    shard = shard_of(cache)
    shard.write_bytes(shard.read_bytes()[:-2])


def remove_a_shard(cache):
    shard_of(cache).unlink()


def empty_manifest(cache):
    (cache / 'manifest.json').write_text('')


def cut_manifest(cache):
    text = (cache / 'manifest.json').read_text()
    (cache / 'manifest.json').write_text(text[: len(text) // 2])


def unfinished(cache):
    text = (cache / 'manifest.json').read_text()
    assert '"complete"' in text
    (cache / 'manifest.json').write_text(text.replace('"complete"', '"writing"', 1))


@pytest.mark.slow
@pytest.mark.parametrize('damage', [truncate, remove_a_shard, empty_manifest, cut_manifest, unfinished])
def test_a_training_refuses_it(damage, written, cache, tmp_path):
    damage(cache)
    done = train(written[1], cache, tmp_path)
    assert done.status == 2, done.stderr
    assert done.stderr.count('error:') == 1
    assert 'model.teacher_cache' in done.stderr
    assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_that_of_another_teacher_is_refused(written, cache, tmp_path):
    other = write_config(tmp_path, BODY + f'model["teacher_ckpt"] = {str(write_teacher(tmp_path, seed=1))!r}\n')
    done = train(other, cache, tmp_path)
    assert done.status == 2, done.stderr
    assert 'teacher weights' in done.stderr
    assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_a_flipped_bit_is_found_by_verify(written, cache, tmp_path):
    verify = ['cache_teacher', written[1], '--views', 2, '--out', cache, '--verify', ROWS]
    assert run_tool(*verify, folder=tmp_path).status == 0
    shard = shard_of(cache)
    content = bytearray(shard.read_bytes())
    content[-1] ^= 0x40  # the exponent of the last number, little-endian
    shard.write_bytes(content)
    done = run_tool(*verify, folder=tmp_path)
    assert done.status == 2, done.stdout


@pytest.mark.slow
def test_writing_again_mends_it(written, cache, tmp_path):
    whole = shard_of(cache).read_bytes()
    truncate(cache)
    done = run_tool('cache_teacher', written[1], '--views', 2, '--out', cache, folder=tmp_path)
    assert done.status == 0, done.stderr
    assert shard_of(cache).read_bytes() == whole
    assert train(written[1], cache, tmp_path).status == 0
