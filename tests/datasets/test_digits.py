"""Digits: fixed splits, mmpretrain's manners, and messages for bad arguments."""

import numpy as np
import pytest
from mmengine.registry import DATASETS
from sklearn.datasets import load_digits

from kd_plugins.datasets import Digits
from kd_plugins.errors import UserError

SIZES = {'train': 718, 'val': 180, 'test': 899}


PLACES = {image.tobytes(): place for place, image in enumerate(load_digits().images)}


def places(**kwargs):
    """Where the images of a data set stand among scikit-learn's 1,797, all of which differ."""
    dataset = Digits(**kwargs)
    images = [dataset.get_data_info(index)['img'][..., 0] for index in range(len(dataset))]
    return [PLACES[np.round(image / 255 * 16).astype(float).tobytes()] for image in images]


@pytest.mark.parametrize('split', SIZES)
def test_split_has_its_size_and_every_class_in_proportion(split):
    labels = Digits(split=split).get_gt_labels()
    everywhere = np.bincount(load_digits().target) / 1797
    assert len(labels) == SIZES[split]
    np.testing.assert_allclose(np.bincount(labels), everywhere * SIZES[split], atol=1)


def test_splits_share_no_image_and_leave_none_out():
    assert sorted(place for split in SIZES for place in places(split=split)) == list(range(1797))


def test_splits_never_change():
    assert places(split='test')[:8] == [0, 1, 2, 4, 6, 10, 11, 12]
    assert places(split='train')[:8] == [3, 5, 7, 8, 9, 13, 14, 15]
    assert places(split='val')[:8] == [19, 26, 33, 38, 48, 54, 55, 60]
    assert places(split='train', num_images=300)[:8] == [5, 8, 13, 15, 18, 22, 27, 29]


def test_subset_is_stratified_and_part_of_its_split():
    subset = Digits(split='train', num_images=300)
    assert len(subset) == 300
    assert set(np.bincount(subset.get_gt_labels())) <= {29, 30, 31}
    assert set(places(split='train', num_images=300)) < set(places(split='train'))
    assert places(split='val', num_images=180) == places(split='val')


def test_smallest_subset_has_each_class_once():
    assert sorted(Digits(split='val', num_images=10).get_gt_labels()) == list(range(10))


def test_images_are_scikit_learns_stretched_to_bytes():
    bunch = load_digits()
    info, place = Digits(split='train').get_data_info(3), places(split='train')[3]
    expected = np.round(bunch.images[place] * 255 / 16).astype(np.uint8)
    assert info['img'].shape == (8, 8, 3)
    assert info['img'].dtype == np.uint8
    for channel in range(3):
        np.testing.assert_array_equal(info['img'][..., channel], expected)
    assert info['gt_label'] == bunch.target[place]


def test_builds_from_any_scope_and_runs_a_pipeline_of_mmpretrain():
    config = dict(
        type='kd_plugins.Digits',
        split='val',
        pipeline=[dict(type='Resize', scale=(32, 32)), dict(type='PackInputs')],
        _scope_='mmpretrain',
    )
    dataset = DATASETS.build(config)
    sample = dataset[7]
    assert sample['inputs'].shape == (3, 32, 32)
    assert sample['data_samples'].gt_label.item() == dataset.get_gt_labels()[7]
    assert dataset.metainfo['classes'] == tuple('0123456789')
    assert 'Split: \tval' in repr(dataset)


def test_augmentation_leaves_the_stored_image_alone():
    dataset = Digits(split='val', pipeline=[dict(type='Invert', prob=1.0)])
    before = dataset.get_data_info(0)['img'].copy()
    assert (dataset[0]['img'] == 255 - before).all()
    np.testing.assert_array_equal(dataset.get_data_info(0)['img'], before)


def test_unknown_split_is_refused_with_the_closest_one():
    with pytest.raises(UserError, match=r"split: expected one of 'train', 'val', 'test', got 'tets'.*'test'"):
        Digits(split='tets')


@pytest.mark.parametrize('num_images', [0, 9, 181, -1, 20.0, '20', True])
def test_bad_num_images_is_refused_with_the_range(num_images):
    with pytest.raises(UserError, match='num_images: expected None or a whole number from 10 to 180, got'):
        Digits(split='val', num_images=num_images)


def test_images_are_found_where_scikit_learn_keeps_them_elsewhere(monkeypatch, tmp_path):
    expected = Digits(split='val').get_data_info(5)
    monkeypatch.setattr('kd_plugins.datasets.digits.find_spec', lambda name: None)
    found = Digits(split='val').get_data_info(5)
    np.testing.assert_array_equal(found['img'], expected['img'])
    assert found['gt_label'] == expected['gt_label']
