"""Writing a cache: what is stored, what is refused, what goes on after a stop."""

import json
import shutil
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
import torch
from cached import SMALL, digits_config, shard_bytes, write_cache
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from kd_plugins.engine.cache_job import prepare_job
from kd_plugins.engine.cache_plan import CacheOptions, rows_per_shard
from kd_plugins.engine.cache_report import estimate, verify
from kd_plugins.errors import UserError
from kd_plugins.teacher.cache import MANIFEST, Array, Part, ShardFiles, TeacherCache, read_manifest

LOGITS = dict(type='KLDivergence', tau=4, student='head.fc', teacher='head.fc')


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """A folder with a whole cache, which tests copy or leave as it is."""
    folder = tmp_path_factory.mktemp('written')
    return folder, write_cache(folder, digits_config(folder))


@pytest.fixture
def copied(written, tmp_path):
    """A copy that a test may spoil, with the config of its teacher."""
    folder, cache = written
    shutil.copytree(cache, tmp_path / 'cache')
    shutil.copy(folder / 'teacher_0.pth', tmp_path)
    return tmp_path, tmp_path / 'cache'


def losses(**configs):
    """A config's losses, in place of its own."""
    return dict(model__distiller__distill_losses=dict(_delete_=True, **configs))


def refused(folder, config, options=SMALL):
    """What writing says; nothing is left of it."""
    with pytest.raises(UserError) as caught:
        write_cache(folder, config, options, 'refused')
    assert not (folder / 'refused').exists()
    return str(caught.value)


def test_the_records_are_what_the_teacher_says_to_the_views(written):
    folder, path = written
    config = digits_config(folder)
    job = prepare_job(config, path, SMALL)
    teacher, dataset = job.teacher.algorithm.teacher, job.teacher.dataset
    cache = TeacherCache(path)
    (array,) = cache.manifest.arrays
    rows = np.array([79, 0, 41, 13])

    read = cache.read(array, rows, torch.device('cpu'))

    batch = dict(
        inputs=[dataset[row]['inputs'] for row in rows], data_samples=[dataset[row]['data_samples'] for row in rows]
    )
    data = job.teacher.algorithm.data_preprocessor(batch, True)
    with torch.no_grad():
        expected = teacher.head.fc(teacher.extract_feat(data['inputs'])[-1])
    torch.testing.assert_close(read, expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.1
    assert cache.manifest.rows == 80


def test_a_stopped_writer_goes_on_with_what_is_missing(copied, monkeypatch):
    folder, cache = copied
    before = shard_bytes(cache)
    names = list(before)
    (cache / names[1]).unlink()
    (cache / names[3]).write_bytes(before[names[3]][:-5])
    (cache / names[3]).with_suffix('.npy.tmp').write_bytes(b'half')
    (cache / names[0]).with_suffix('.npy.tmp').write_bytes(b'half')
    manifest = json.loads((cache / MANIFEST).read_text())
    (cache / MANIFEST).write_text(json.dumps({**manifest, 'state': 'writing'}))
    with pytest.raises(UserError, match=r'expected a complete cache, got .*being written; run tools/cache_teacher\.py'):
        _ = TeacherCache(cache).manifest
    shards = []
    monkeypatch.setattr(ShardFiles, 'write', spy(ShardFiles.write, shards))

    write_cache(folder, digits_config(folder))

    assert shards == [1, 3]
    assert shard_bytes(cache) == before
    assert not list(cache.rglob('*.tmp'))
    assert TeacherCache(cache).manifest.complete
    # and what is complete stays as it is
    write_cache(folder, digits_config(folder))
    assert shards == [1, 3]


def spy(function, calls):
    def called(self, shard, columns):
        calls.append(shard)
        return function(self, shard, columns)

    return called


@pytest.mark.parametrize(
    ('changes', 'options', 'part'),
    [
        ({}, dict(seed=1), 'seed'),
        ({}, dict(views=3), 'views'),
        ({}, dict(dtype='float16'), 'arrays'),
        ({}, dict(batch=9), 'batch'),
        (dict(train_dataloader__dataset__num_images=50), {}, 'samples'),
        (dict(affine__degrees=5), {}, None),
        (dict(train_pipeline=None, train_dataloader__dataset__pipeline__1__degrees=5), {}, r'pipeline: 0\.1\.degrees'),
    ],
)
def test_another_cache_in_the_folder_is_not_overwritten(copied, changes, options, part):
    folder, cache = copied
    before = shard_bytes(cache)
    if part is None:
        # what does not change the rows is no other cache
        write_cache(folder, digits_config(folder, **changes), replace(SMALL, **options))
    else:
        with pytest.raises(UserError, match=rf'--out \({part}.*choose another folder with --out') as caught:
            write_cache(folder, digits_config(folder, **changes), replace(SMALL, **options))
        assert f'as in {cache}' in str(caught.value)
    assert shard_bytes(cache) == before


def test_a_folder_of_something_else_is_left_alone(written, tmp_path):
    (tmp_path / 'cache').mkdir()
    (tmp_path / 'cache' / 'thesis.tex').touch()
    with pytest.raises(UserError, match='holds something else; choose another with --out'):
        write_cache(tmp_path, digits_config(written[0]))
    assert [path.name for path in (tmp_path / 'cache').iterdir()] == ['thesis.tex']


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(written, tmp_path, monkeypatch):
    usage = namedtuple('usage', 'total used free')(10**9, 10**9, 10**6)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
    message = refused(tmp_path, digits_config(written[0]))
    assert 'expected a disk with 1.05 MB free, got 1 MB' in message  # 2**20 bytes, and 80 rows of 10 float32


def test_an_estimate_is_the_size_and_writes_nothing(written, tmp_path):
    told = estimate(digits_config(written[0]), tmp_path / 'none', SMALL)
    assert 'rows    80 = 40 samples x 2 views (seed 0)' in told
    assert 'array   head.fc: (10,) float32' in told
    size = sum(len(content) for content in shard_bytes(written[1]).values())
    assert f'size    {size / 1000:.3g} kB in 10 shards' in told
    assert 'free    ' in told
    assert 'rows a second' in told
    assert not (tmp_path / 'none').exists()


@pytest.mark.parametrize('dtype', ['float16', 'float32'])
@pytest.mark.parametrize('top_k', [None, 3])
def test_verification_finds_what_is_wrong(written, tmp_path, dtype, top_k):
    config = digits_config(written[0])
    options = replace(SMALL, dtype=dtype, top_k=top_k)
    cache = write_cache(tmp_path, config, options)

    assert 'head.fc: worst difference' in verify(config, cache, CacheOptions(), 30)
    path = sorted(cache.glob('00_*/00004.npy'))[-1]
    values = np.load(path)
    values[:, 0] += np.abs(values).max() / 100
    np.save(path, values)
    with pytest.raises(UserError, match=r'--verify \(head\.fc\): expected a difference up to .*; write the cache anew'):
        verify(config, cache, CacheOptions(), 80)


def test_verification_is_of_this_teacher(written, tmp_path):
    config = digits_config(tmp_path)
    config.model.teacher_ckpt = str(tmp_path / 'teacher_1.pth')
    from cached import teacher_weights

    teacher_weights(tmp_path, config.model.teacher, seed=1)
    with pytest.raises(UserError, match=r'--out \(teacher weights: teacher\)'):
        verify(config, written[1], CacheOptions(), 8)


def test_top_k_logits_are_those_of_the_whole(written, tmp_path):
    config = digits_config(written[0])
    cache = TeacherCache(write_cache(tmp_path, config, replace(SMALL, top_k=9)))
    whole = TeacherCache(written[1])
    rows = np.arange(80)
    read = [part.read(part.manifest.arrays[0], rows, torch.device('cpu')) for part in (cache, whole)]
    # nine of ten classes lose nothing
    torch.testing.assert_close(read[0], read[1].log_softmax(1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('changes', 'options', 'message'),
    [
        (
            losses(loss_x=dict(type='L2Loss', student='head.fc', teacher='head.fc')),
            dict(top_k=3),
            r'--top-k: .*feeds preds_T alone',
        ),
        ({}, dict(top_k=10), r'--top-k: expected a number from 1 to 9, got 10'),
        (
            losses(
                loss_x=dict(
                    type='L2Loss',
                    student='head.fc',
                    teacher=dict(type='Parameter', source='head.fc.weight'),
                )
            ),
            {},
            r'distill_losses\.loss_x\.teacher\.type: expected a record with a row per sample, got Parameter',
        ),
        (
            losses(
                loss_x=dict(
                    type='L2Loss',
                    student='head.fc',
                    teacher=dict(type='ModuleOutputGrads', source='head.fc'),
                )
            ),
            {},
            'got ModuleOutputGrads; train without a cache',
        ),
        (
            dict(model__type='kd_plugins.FpnTeacherDistill'),
            {},
            r'model\.type: .*SingleTeacherDistill or MultiTeacherDistill, got FpnTeacherDistill',
        ),
        (dict(model__teacher_trainable=True), {}, r'model\.teacher_trainable: expected a frozen teacher'),
        (dict(model__distiller__type='kd_plugins.BYOTDistiller'), {}, r'distiller\.type: .*got BYOTDistiller'),
        (
            dict(model__data_preprocessor=dict(batch_augments=dict(augments=dict(type='Mixup', alpha=0.2)))),
            {},
            r'model\.data_preprocessor\.batch_augments: expected images that are not mixed.*got Mixup',
        ),
        (
            dict(model__architecture__train_cfg=dict(augments=dict(type='CutMix', alpha=1.0))),
            {},
            r'batch_augments: .*got CutMix; remove it',
        ),
        (dict(train_dataloader__sampler__type='RepeatAugSampler'), {}, None),
    ],
)
def test_what_cannot_be_cached_is_refused_by_name(written, tmp_path, changes, options, message):
    import re

    config = digits_config(written[0], **changes)
    if message is None:
        # an order of samples is the training's business
        write_cache(tmp_path, config, SMALL)
        return
    assert re.search(message, refused(tmp_path, config, replace(SMALL, **options)))


def test_a_teacher_of_random_weights_is_refused(written, tmp_path):
    config = digits_config(written[0])
    config.model.teacher_ckpt = None
    assert 'expected a teacher with trained weights, got random ones' in refused(tmp_path, config)


def test_a_value_beyond_float16_is_refused_with_the_way_out(tmp_path):
    config = digits_config(tmp_path)
    weights = torch.load(config.model.teacher_ckpt, weights_only=True)
    weights['head.fc.bias'][3] = 1e5
    torch.save(weights, config.model.teacher_ckpt)
    with pytest.raises(UserError, match=r'up to 65504, got .*head\.fc.*; add --dtype float32'):
        write_cache(tmp_path, config, replace(SMALL, dtype='float16'))
    assert not read_manifest(tmp_path / 'cache', '').complete
    assert shard_bytes(tmp_path / 'cache') == {}


@TRANSFORMS.register_module()
class OwnGenerator(BaseTransform):
    """Draws from a generator that nobody else can seed."""

    def __init__(self):
        self.generator = np.random.default_rng(0)

    def transform(self, results):
        results['img'] = self.generator.integers(0, 256, results['img'].shape, dtype=np.uint8)
        return results


def test_a_pipeline_that_cannot_be_replayed_is_refused(written, tmp_path):
    config = digits_config(written[0])
    config.train_dataloader.dataset.pipeline.insert(0, dict(type='mmengine.OwnGenerator'))
    message = refused(tmp_path, config)
    assert 'train_dataloader.dataset.pipeline: expected a pipeline that draws from the random states' in message
    assert 'OwnGenerator - NumpyToPIL' in message


@pytest.mark.parametrize(
    ('row', 'rows', 'batch', 'expected'),
    [(4, 80, 8, 8), (2**20, 10**6, 10, 70), (2**30, 90, 8, 8), (4, 5, 5, 5), (4, 1000, 8, 64)],
)
def test_a_shard_is_whole_batches_of_a_moderate_size(row, rows, batch, expected):
    # 64 MiB of the largest record, or a sixteenth of the rows, rounded up to batches
    assert rows_per_shard([Array({}, (Part('a', (row // 4,), 'float32'),))], rows, batch) == expected


def test_one_record_for_two_losses_is_stored_once(written, tmp_path):
    config = digits_config(written[0], **losses(loss_a=LOGITS, loss_b={**LOGITS, 'tau': 2}))
    cache = write_cache(tmp_path, config)
    assert [array.name for array in read_manifest(cache, '').arrays] == ['head.fc']


def test_views_of_the_config_are_those_of_the_cache(written, tmp_path):
    from kd_plugins.engine.cache_config import wrap_training_data

    config = digits_config(written[0])
    wrap_training_data(config, views=3, seed=5)
    manifest = read_manifest(write_cache(tmp_path, config, CacheOptions()), '')
    assert (manifest.views, manifest.seed, manifest.rows) == (3, 5, 120)
    with pytest.raises(UserError, match=r'--views: expected 3, as in train_dataloader\.dataset, got 2'):
        write_cache(tmp_path, config, CacheOptions(views=2), 'other')


def test_workers_write_the_same(written, tmp_path):
    config = digits_config(written[0], train_dataloader__num_workers=2)
    assert shard_bytes(write_cache(tmp_path, config)) == shard_bytes(written[1])
