"""CRDDataset: places of other classes, the same draws as mmrazor's, and its messages."""

import importlib

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.registry import DATASETS as MMENGINE_DATASETS

from kd_plugins.datasets import CRDDataset, PackCRDClsInputs
from kd_plugins.errors import UserError
from kd_plugins.losses import CRDLoss
from kd_plugins.registry import DATASETS, TRANSFORMS

LABELS = [2, 0, 1, 0, 2, 1, 0, 1, 2]


class Labelled(BaseDataset):
    """Images of one colour each, with labels that a test chooses."""

    METAINFO = dict(classes=('a', 'b', 'c'))

    def __init__(self, labels=LABELS, **kwargs):
        self.labels = labels
        super().__init__(serialize_data=False, **kwargs)

    def load_data_list(self):
        return [
            dict(img=np.full((4, 5, 3), place, np.uint8), gt_label=label) for place, label in enumerate(self.labels)
        ]

    def get_gt_labels(self):
        return self.labels


@pytest.mark.parametrize('mode', ['exact', 'random'])
@pytest.mark.parametrize('neg_num', [3, 40])
def test_places_are_those_of_other_classes_behind_a_positive_one(neg_num, mode):
    dataset = CRDDataset(Labelled(), neg_num, 1.0, sample_mode=mode)
    labels, positives = np.asarray(LABELS), set()
    for _ in range(20):
        for place, label in enumerate(LABELS):
            positive, *others = dataset[place]['contrast_sample_idxs']
            assert labels[positive] == label
            assert (labels[others] != label).all()
            assert len(others) == neg_num
            assert neg_num == 40 or len(set(others)) == 3  # without replacement as long as there are enough
            positives.add((place, int(positive)))
    assert len(positives) == (9 if mode == 'exact' else 27)


def test_every_other_image_is_drawn_equally_often():
    dataset = CRDDataset(Labelled([0, 0, 1, 2, 2, 1]), 2, 1.0)
    drawn = np.concatenate([dataset[1]['contrast_sample_idxs'][1:] for _ in range(2000)])
    counts = np.bincount(drawn, minlength=6) / len(drawn)
    assert not counts[:2].any()
    np.testing.assert_allclose(counts[2:], 0.25, atol=0.04)


def test_classes_may_be_of_any_size_and_have_gaps():
    # mmrazor's makes an array of rows of unequal length, which numpy refuses
    dataset = CRDDataset(Labelled([5, 5, 5, 2]), 4, 1.0)
    assert set(dataset[0]['contrast_sample_idxs'][1:]) == {3}
    assert set(dataset[3]['contrast_sample_idxs'][1:]) <= {0, 1, 2}


def test_a_share_of_the_others_is_chosen_once():
    labels = [0] * 50 + [1] * 50
    dataset = CRDDataset(Labelled(labels), 500, 0.1)
    drawn = [set(dataset[place]['contrast_sample_idxs'][1:]) for place in (3, 7, 60)]
    assert drawn[0] == drawn[1]
    assert [len(places) for places in drawn] == [5, 5, 5]
    assert min(drawn[0]) >= 50 > max(drawn[2])


@pytest.mark.parametrize('mode', ['exact', 'random'])
@pytest.mark.parametrize('percent', [0.5, 1.0])
@pytest.mark.parametrize('neg_num', [2, 10])
def test_draws_are_those_of_mmrazor_with_the_same_seed(neg_num, percent, mode):
    pytest.importorskip('mmrazor', reason='pip install kd_plugins[parity]')
    importlib.import_module('kd_plugins.compat.mmrazor')
    draws = []
    for kind in (CRDDataset, importlib.import_module('mmrazor.datasets').CRDDataset):
        np.random.seed(3)
        dataset = kind(Labelled(), neg_num, percent, sample_mode=mode)
        draws.append([dataset[place]['contrast_sample_idxs'].tolist() for place in range(9)])
    assert draws[0] == draws[1]


def test_a_data_set_in_test_mode_passes_as_it_is():
    dataset = CRDDataset(Labelled([1, 1], test_mode=True), 3, 1.0)  # one class would not do for training
    assert set(dataset[0]) == {'img', 'gt_label', 'sample_idx'}


def test_manners_of_mmengines_data_sets():
    dataset = CRDDataset(Labelled(), 3, 1.0, lazy_init=True)
    assert not dataset._fully_initialized
    assert len(dataset) == 9
    assert dataset.metainfo == {'classes': ('a', 'b', 'c')}
    assert dataset.get_data_info(4)['gt_label'] == 2


def test_another_image_takes_the_place_of_a_broken_one():
    def pipeline(results):
        return None if results['sample_idx'] < 8 else results

    inner = Labelled(max_refetch=200)
    inner.pipeline = pipeline
    assert CRDDataset(inner, 3, 1.0)[0]['sample_idx'] == 8
    inner.pipeline = lambda results: None
    with pytest.raises(RuntimeError, match='None 201 times'):
        CRDDataset(inner, 3, 1.0)[0]
    inner.test_mode = True
    with pytest.raises(RuntimeError, match='None 1 times'):
        CRDDataset(inner, 3, 1.0)[0]


@pytest.mark.parametrize(
    ('labels', 'options', 'message'),
    [
        (LABELS, dict(neg_num=0), 'neg_num: expected a whole number above 0'),
        (LABELS, dict(neg_num=1.5), 'neg_num'),
        (LABELS, dict(percent=0), r'percent: expected a share in \(0, 1\]'),
        (LABELS, dict(percent=50), 'percent'),
        (LABELS, dict(sample_mode='exakt'), 'sample_mode: expected one of'),
        (LABELS, dict(num_classes=2), 'num_classes: expected labels below 2, got a label 2'),
        ([1, 1, 1], dict(), 'dataset: expected images of two classes at least, got 1'),
        ([], dict(), 'dataset: expected images of two classes at least, got 0'),
        ([[0, 1], [1]], dict(), 'dataset: expected one class index'),
        ([[0, 1], [1, 0]], dict(), 'dataset: expected one class index'),
        ([None, None], dict(), 'dataset: expected one class index'),
    ],
)
def test_bad_arguments_are_refused(labels, options, message):
    with pytest.raises(UserError, match=message):
        CRDDataset(Labelled(labels), **{'neg_num': 3, 'percent': 1.0, **options})


def test_what_is_no_data_set_is_refused():
    with pytest.raises(UserError, match='dataset: expected a BaseDataset'):
        CRDDataset([1, 2, 3], 3, 1.0)


def test_from_the_config_to_the_loss(monkeypatch):
    monkeypatch.setitem(MMENGINE_DATASETS.module_dict, 'Labelled', Labelled)
    config = dict(
        type='kd_plugins.CRDDataset',
        dataset=dict(type='Labelled', pipeline=[dict(type='kd_plugins.PackCRDClsInputs')]),
        neg_num=4,
        sample_mode='exact',
        percent=1.0,
    )
    dataset = MMENGINE_DATASETS.build(config)
    assert isinstance(dataset, CRDDataset)
    batch = pseudo_collate([dataset[3], dataset[8]])
    assert [image.shape for image in batch['inputs']] == [(3, 4, 5)] * 2
    feats = torch.nn.functional.normalize(torch.randn(2, 2, 6), dim=2)
    loss = CRDLoss(sample_n=9, dim_out=6)
    seen = []
    loss.contrast.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[2]))
    assert loss(*feats, batch['data_samples']).isfinite()
    assert seen[0].shape == (2, 5)
    assert seen[0][:, 0].tolist() == [3, 8]


def test_is_registered():
    assert DATASETS.get('CRDDataset') is CRDDataset
    assert TRANSFORMS.get('PackCRDClsInputs') is PackCRDClsInputs
