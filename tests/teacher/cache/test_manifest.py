"""The manifest of a cache is read as it was written, or refused."""

import json

import pytest

from kd_plugins.errors import UserError
from kd_plugins.teacher.cache import MANIFEST, Array, Manifest, Part, read_manifest, write_manifest

PARTS = Part('a.classes', (2,), 'uint16'), Part('a.log_probabilities', (3,), 'float16')
ARRAYS = Array({'source': 'fc', 'record_idx': None}, PARTS, 10), Array({'source': 'x'}, (Part('b', (), 'float32'),))


def manifest(**changes):
    return Manifest(
        **{
            **dict(samples=10, views=3, seed=1, batch=4, rows_per_shard=8, arrays=ARRAYS, fingerprint={'a': [1]}),
            **changes,
        }
    )


@pytest.mark.parametrize('complete', [False, True])
def test_it_comes_back_as_it_was(tmp_path, complete):
    write_manifest(tmp_path / 'new', manifest(complete=complete))
    assert read_manifest(tmp_path / 'new', 'here') == manifest(complete=complete)
    assert [path.name for path in (tmp_path / 'new').iterdir()] == [MANIFEST]


def test_rows_and_shards():
    assert manifest().rows == 30
    assert manifest().shards == 4
    assert [len(manifest().rows_of(shard)) for shard in range(4)] == [8, 8, 8, 6]


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('format', 2, r'a cache in format 1, got .*, in format 2; write the cache anew'),
        ('rows_per_shard', 0, 'rows_per_shard=0'),
        ('views', 'many', "views='many'"),
        ('new_key', 1, 'new_key'),
        (
            'arrays',
            [dict(record={}, classes=None, parts=[dict(folder='../up', shape=[1], dtype='float16')])],
            r'\.\./up',
        ),
        ('arrays', [dict(record={}, classes=None, parts=[dict(folder='a', shape=[1], dtype='O')])], "dtype='O'"),
        ('arrays', [dict(record={}, classes=3, parts=[dict(folder='a', shape=[1], dtype='int32')])], 'an array'),
    ],
)
def test_what_no_tool_of_ours_wrote_is_refused(tmp_path, key, value, message):
    write_manifest(tmp_path, manifest())
    path = tmp_path / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(UserError, match=message):
        read_manifest(tmp_path, 'here')


@pytest.mark.parametrize('content', ['', '{', '[]', '{"format": 1}'])
def test_a_damaged_manifest_is_refused(tmp_path, content):
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(UserError, match=r'here: expected the manifest of a teacher cache, got .*which cannot be read'):
        read_manifest(tmp_path, 'here')


@pytest.mark.parametrize(('folder', 'got'), [('nowhere', 'does not exist'), ('.', r'has no manifest\.json'), (7, '7')])
def test_no_cache(tmp_path, folder, got):
    with pytest.raises(UserError, match=rf'here: expected the folder of a teacher cache, got .*{got}'):
        read_manifest(folder if folder == 7 else tmp_path / folder, 'here')
