"""Handwritten digits that come with scikit-learn: real images without a download."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.utils import resample

from kd_plugins.errors import Fault, UserError, closest
from kd_plugins.registry import DATASETS

VAL_SIZE = 180
TEST_SIZE = 899
SPLIT_SEED = 0


@DATASETS.register_module()
class Digits(BaseDataset):
    """The 1,797 handwritten digits (8x8, ten classes) of scikit-learn, in three fixed, stratified, disjoint splits.

    ``train`` has 718 images, ``val`` 180 and ``test`` 899. A pipeline gets each image as ``img``, a uint8 array of
    shape (8, 8, 3) with three equal channels in [0, 255], and its class as ``gt_label``; enlarging is the pipeline's
    business (``dict(type='Resize', scale=(32, 32))``).

    Source: E. Alpaydin and C. Kaynak, `Optical Recognition of Handwritten Digits
    <https://archive.ics.uci.edu/dataset/80>`_, UCI Machine Learning Repository, 1998 (its test part).

    Args:
        split: ``'train'``, ``'val'`` or ``'test'``.
        num_images: Keep a fixed stratified subset of that many images of the split; None keeps all.
        **kwargs: Other arguments of mmpretrain's ``BaseDataset``, such as ``pipeline``.

    Example:
        >>> digits = Digits(split='train', num_images=300)
        >>> len(digits), digits[0]['img'].shape, digits.metainfo['classes'][:3]
        (300, (8, 8, 3), ('0', '1', '2'))
    """

    METAINFO = {'classes': tuple('0123456789')}
    SPLITS = ('train', 'val', 'test')

    def __init__(self, split: str = 'train', num_images: int | None = None, **kwargs: Any) -> None:
        if split not in self.SPLITS:
            advice = closest(str(split), self.SPLITS)
            raise UserError(Fault('split', f'one of {", ".join(map(repr, self.SPLITS))}', repr(split), advice))
        self.split = split
        self.num_images = num_images
        super().__init__(ann_file='', **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Load the images and labels of the split, in an order that never changes."""
        pixels, labels = load_digits(return_X_y=True)  # (1797, 64) in [0, 16], (1797,)
        indices = self._subset(_split_indices(labels)[self.split], labels)
        images = (pixels.reshape(-1, 8, 8, 1) * (255 / 16)).round().astype(np.uint8)
        images = images.repeat(3, axis=-1)  # (1797, 8, 8, 1) -> (1797, 8, 8, 3)
        return [{'img': images[index], 'gt_label': int(labels[index])} for index in indices]

    def _subset(self, indices: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Draw ``num_images`` of ``indices``, each class in proportion."""
        count, least, most = self.num_images, len(self.METAINFO['classes']), len(indices)
        if count is None:
            return indices
        if isinstance(count, bool) or not isinstance(count, int) or not least <= count <= most:
            expected = f'None or a whole number from {least} to {most}'
            advice = f'the {self.split} split has {most} images, and each of the {least} classes needs one at least'
            raise UserError(Fault('num_images', expected, repr(count), advice))
        chosen = resample(indices, replace=False, n_samples=count, stratify=labels[indices], random_state=SPLIT_SEED)
        return np.sort(chosen)

    def extra_repr(self) -> list[str]:
        """What ``repr`` says about this data set beyond its size and classes."""
        return [f'Split: \t{self.split}']


def _split_indices(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Divide all images, class by class in proportion: split -> sorted indices into ``labels`` (N,)."""
    rest, test = train_test_split(np.arange(len(labels)), test_size=TEST_SIZE, stratify=labels, random_state=SPLIT_SEED)
    train, val = train_test_split(rest, test_size=VAL_SIZE, stratify=labels[rest], random_state=SPLIT_SEED)
    return {'train': np.sort(train), 'val': np.sort(val), 'test': np.sort(test)}
