"""A row of ReplayedViews has the same pixels whoever loads it, and whenever."""

import copy
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmengine.structures import BaseDataElement
from torch.utils.data import DataLoader

from kd_plugins.datasets import Digits, ReplayedViews
from kd_plugins.errors import UserError
from kd_plugins.registry import DATASETS

SAMPLES, VIEWS = 12, 3
# draws from torch's, NumPy's and Python's random states, in this order
PIPELINE = [
    dict(type='NumpyToPIL'),
    dict(type='torchvision/RandomAffine', degrees=20, translate=(0.2, 0.2)),
    dict(type='PILToNumpy'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomErasing', erase_prob=0.9, min_area_ratio=0.1, max_area_ratio=0.4, mode='rand'),
    dict(type='PackInputs'),
]


def digits(**options):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = dict(type='kd_plugins.Digits', split='train', num_images=SAMPLES, pipeline=PIPELINE)
        return DATASETS.build(dict(type='kd_plugins.ReplayedViews', dataset=dataset, views=VIEWS, **options))


def load(dataset, rows, workers=0):
    """Pixels by the row that a data sample says it is."""
    loader = DataLoader(dataset, batch_sampler=[rows[:5], rows[5:]], num_workers=workers, collate_fn=pseudo_collate)
    found = {}
    for batch in loader:
        found.update(
            (sample.teacher_row, image) for image, sample in zip(batch['inputs'], batch['data_samples'], strict=True)
        )
    return found


@pytest.mark.parametrize('workers', [1, 4])
def test_workers_give_the_same_pixels_and_rows(workers):
    rows = list(range(SAMPLES * VIEWS))
    alone = load(digits(), rows)
    random.Random(1).shuffle(rows)
    random.seed(2), np.random.seed(2), torch.manual_seed(2)

    shared = load(digits(), rows, workers)

    assert sorted(shared) == sorted(alone) == list(range(SAMPLES * VIEWS))
    assert all(torch.equal(shared[row], alone[row]) for row in rows)


def test_views_and_seeds_differ():
    dataset = digits()
    views = [dataset[dataset.row_of(view, 4)]['inputs'] for view in range(VIEWS)]
    assert not any(torch.equal(one, other) for one, other in zip(views, views[1:] + views[:1], strict=True))
    assert not torch.equal(digits(seed=1)[4]['inputs'], views[0])
    labels = [dataset[dataset.row_of(view, 4)]['data_samples'].gt_label for view in range(VIEWS)]
    assert len({int(label) for label in labels}) == 1
    assert dataset.row_of(VIEWS + 1, 4) == dataset.row_of(1, 4) == SAMPLES + 4


@pytest.mark.parametrize('fails', [False, True])
def test_random_states_are_left_as_they_were(fails):
    dataset = digits()
    if fails:
        dataset.dataset.pipeline.transforms[-1] = lambda results: 1 / 0
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    if fails:
        with pytest.raises(ZeroDivisionError):
            dataset[3]
    else:
        dataset[3]
    assert random.getstate() == states[0]
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert torch.equal(torch.get_rng_state(), states[2])


def test_it_answers_as_the_wrapped_data_set():
    dataset = digits()
    assert len(dataset) == SAMPLES
    assert dataset.metainfo['classes'] == Digits.METAINFO['classes']
    assert dataset.split == 'train'
    row = dataset.row_of(2, 7)
    assert dataset.get_cat_ids(row) == dataset.dataset.get_cat_ids(7)
    assert dataset.get_data_info(row)['sample_idx'] == 7
    assert not hasattr(dataset, 'no_such_thing')
    again = copy.deepcopy(dataset)
    assert torch.equal(again[row]['inputs'], dataset[row]['inputs'])
    for row in (-1, SAMPLES * VIEWS):
        with pytest.raises(IndexError):
            dataset[row]


@pytest.mark.parametrize('item', [dict(inputs=torch.zeros(1), data_samples=1), (torch.zeros(1), 1)])
def test_items_that_cannot_carry_a_row_are_refused(item):
    class Plain:
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return item

    with pytest.raises(UserError, match=r'dataset: expected items of Plain with a data sample of OpenMMLab'):
        ReplayedViews(Plain())[0]


@pytest.mark.parametrize(('name', 'value'), [('views', 0), ('views', True), ('seed', -1), ('seed', 1.5)])
def test_arguments_out_of_range(name, value):
    with pytest.raises(UserError, match=rf'{name}: expected a whole number from \d on, got {value!r}'):
        ReplayedViews([BaseDataElement()], **{name: value})
