"""PackCRDClsInputs: what the data sample carries to the loss."""

import numpy as np
import torch
from mmpretrain.structures import DataSample

from kd_plugins.datasets import PackCRDClsInputs


def test_packing_keeps_label_places_and_meta_information_of_every_image():
    # mmrazor's forgets all meta information after the first image
    pack = PackCRDClsInputs()
    for place in (3, 4):
        results = dict(
            img=np.full((4, 5, 3), place, np.uint8),
            gt_label=1,
            sample_idx=place,
            contrast_sample_idxs=np.array([place, 0, 2]),
            img_shape=(4, 5),
        )
        packed = pack(results)
        sample = packed['data_samples']
        assert isinstance(sample, DataSample)
        assert packed['inputs'].shape == (3, 4, 5)
        assert sample.gt_label.tolist() == [1]
        assert sample.img_shape == (4, 5)
        assert sample.sample_idx.dtype == sample.contrast_sample_idxs.dtype == torch.long
        assert sample.sample_idx.item() == place
        assert sample.contrast_sample_idxs.tolist() == [place, 0, 2]
        # data, not meta information: it travels to the device
        assert {'sample_idx', 'contrast_sample_idxs'} <= set(sample.keys())


def test_packing_in_test_mode_has_no_places_to_compare_with():
    sample = PackCRDClsInputs()(dict(img=np.zeros((4, 5), np.uint8), gt_label=1, sample_idx=3))['data_samples']
    assert 'contrast_sample_idxs' not in sample
    assert sample.sample_idx.item() == 3
