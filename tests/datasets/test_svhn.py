"""SVHN: the authors' MATLAB files, mmpretrain's manners, and messages for files that are missing or others."""

import re

import numpy as np
import pytest
import scipy.io
from mmengine.config import Config
from mmengine.registry import DATASETS

from kd_plugins.datasets import SVHN
from kd_plugins.errors import UserError
from kd_plugins.preflight import data_faults

COUNT = 12


def write(path, **changes):
    """A small file in the layout of the official ones."""
    random = np.random.default_rng(0)
    content = {
        'X': random.integers(0, 256, (32, 32, 3, COUNT), dtype=np.uint8),
        'y': (np.arange(COUNT, dtype=np.uint8) % 10 + 1)[:, None],
    }
    content = {name: value for name, value in {**content, **changes}.items() if value is not None}
    scipy.io.savemat(path, content, do_compression=True)
    return content


@pytest.fixture
def root(tmp_path):
    for split in ('train', 'test', 'extra'):
        write(tmp_path / f'{split}_32x32.mat')
    return tmp_path


@pytest.mark.parametrize('split', ['train', 'test', 'extra'])
def test_images_and_labels_are_those_of_the_file(tmp_path, split):
    content = write(tmp_path / f'{split}_32x32.mat')
    dataset = SVHN(data_root=str(tmp_path), split=split)
    assert len(dataset) == COUNT
    for index in range(COUNT):
        info = dataset.get_data_info(index)
        assert info['img'].dtype == np.uint8
        np.testing.assert_array_equal(info['img'], content['X'][..., index])
    # the digit 0 is 10 in the file
    assert dataset.get_gt_labels().tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
    assert dataset.metainfo['classes'] == tuple('0123456789')


def test_channels_are_red_green_blue(tmp_path):
    """As in the file, which holds a red image."""
    pixels = np.zeros((32, 32, 3, COUNT), np.uint8)
    pixels[:, :, 0] = 255
    write(tmp_path / 'train_32x32.mat', X=pixels)
    assert SVHN(data_root=str(tmp_path)).get_data_info(0)['img'][5, 7].tolist() == [255, 0, 0]


def test_rows_are_rows(tmp_path):
    pixels = np.zeros((32, 32, 3, COUNT), np.uint8)
    pixels[3] = 9
    write(tmp_path / 'train_32x32.mat', X=pixels)
    assert (SVHN(data_root=str(tmp_path)).get_data_info(1)['img'][3] == 9).all()


def test_is_built_and_piped_by_a_config(root):
    pipeline = [dict(type='mmpretrain.PackInputs')]
    dataset = DATASETS.build(
        dict(type='kd_plugins.SVHN', data_root=str(root), split='test', pipeline=pipeline, _scope_='mmpretrain')
    )
    sample = dataset[3]
    assert sample['inputs'].shape == (3, 32, 32)
    assert sample['data_samples'].gt_label.item() == 4


def test_validation_is_the_end_of_train(root):
    first, last = (SVHN(data_root=str(root), indices=indices) for indices in (COUNT - 3, -3))
    labels = [*first.get_gt_labels(), *last.get_gt_labels()]
    assert len(last) == 3
    assert labels == SVHN(data_root=str(root)).get_gt_labels().tolist()


def test_unknown_split(root):
    with pytest.raises(UserError, match="split: expected one of 'train', 'test', 'extra', got 'val'"):
        SVHN(data_root=str(root), split='val')


def test_missing_file_says_where_it_comes_from(tmp_path):
    with pytest.raises(UserError) as error:
        SVHN(data_root=str(tmp_path), split='extra')
    (fault,) = error.value.faults
    assert fault.where == 'data_root'
    assert str(tmp_path / 'extra_32x32.mat') in fault.got
    assert 'download extra_32x32.mat from http://ufldl.stanford.edu/housenumbers/' in fault.advice
    assert list(tmp_path.iterdir()) == []


def test_preflight_looks_for_the_files_of_all_splits(root):
    """A test set that is missing is said before the training, not after it."""
    loaders = {
        f'{part}_dataloader': dict(dataset=dict(type='kd_plugins.SVHN', data_root=str(root), split=split))
        for part, split in (('train', 'train'), ('val', 'train'), ('test', 'test'))
    }
    config = Config(dict(default_scope='mmpretrain', **loaders))
    assert data_faults(config) == []
    (root / 'test_32x32.mat').unlink()
    (fault,) = data_faults(config)
    assert fault.where == 'test_dataloader.dataset.data_root'
    assert fault.got == f'{root / "test_32x32.mat"}, which does not exist'
    assert 'download test_32x32.mat from http://ufldl.stanford.edu/housenumbers/' in fault.advice
    (root / 'train_32x32.mat').unlink()
    assert [fault.where.partition('.')[0] for fault in data_faults(config)] == ['train_dataloader', 'test_dataloader']


@pytest.mark.parametrize(
    ('changes', 'got'),
    [
        (dict(X=None), 'the variables y'),
        (dict(X=None, y=None, digitStruct=np.zeros((1, 4))), 'the variables digitStruct'),
        (dict(X=np.zeros((COUNT, 32, 32, 3), np.uint8)), 'X of uint8 (12, 32, 32, 3)'),
        (dict(X=np.zeros((32, 32, 3, COUNT))), 'X of double (32, 32, 3, 12)'),
        (dict(X=np.zeros((32, 32), np.uint8)), 'X of uint8 (32, 32)'),
        (dict(y=np.ones((COUNT - 1, 1), np.uint8)), 'y (11, 1) for 12 images'),
        (dict(y=np.ones((1, COUNT), np.uint8)), 'y (1, 12) for 12 images'),
        (dict(y=np.zeros((COUNT, 1), np.uint8)), 'labels other than 1 to 10'),
        (dict(y=np.full((COUNT, 1), 11, np.uint8)), 'labels other than 1 to 10'),
        (dict(y=np.full((COUNT, 1), 1.5)), 'labels other than 1 to 10'),
    ],
)
def test_other_layouts_are_refused(tmp_path, changes, got):
    write(tmp_path / 'train_32x32.mat', **changes)
    with pytest.raises(UserError, match=re.escape(got)) as error:
        SVHN(data_root=str(tmp_path))
    (fault,) = error.value.faults
    assert fault.where == str(tmp_path / 'train_32x32.mat')
    assert 'http://ufldl.stanford.edu/housenumbers/' in fault.advice


@pytest.mark.parametrize('share', [0, 0.001, 0.02, 0.3, 0.9, 0.999])
def test_truncated_files_are_refused(root, share):
    path = root / 'train_32x32.mat'
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match='a MATLAB file'):
        SVHN(data_root=str(root))


@pytest.mark.parametrize(
    'content',
    [
        b'MATLAB 7.3 MAT-file, Platform: GLNXA64'.ljust(124)
        + b'\x00\x02IM'
        + bytes(384)
        + b'\x89HDF\r\n\x1a\n'
        + bytes(512),
        b'\x1f\x8b' + bytes(600),
        b'<html>not found</html>' * 40,
    ],
    ids=['version 7.3', 'gzip', 'html'],
)
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / 'train_32x32.mat').write_bytes(content)
    with pytest.raises(UserError, match='cannot be read'):
        SVHN(data_root=str(tmp_path))
