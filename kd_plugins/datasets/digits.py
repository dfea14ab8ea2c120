"""Handwritten digits that come with scikit-learn: real images without a download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset

from kd_plugins.datasets.stratified import draw_stratified
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
        pixels, labels = _read()  # (1797, 64) in [0, 16], (1797,)
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
        return np.sort(indices[draw_stratified(labels[indices], [count], SPLIT_SEED)[0]])

    def extra_repr(self) -> list[str]:
        """What ``repr`` says about this data set beyond its size and classes."""
        return [f'Split: \t{self.split}']


def _read() -> tuple[np.ndarray, np.ndarray]:
    """Pixels and labels of all images, without importing scikit-learn, which takes longer than a preflight."""
    spec = find_spec('sklearn')
    folders = spec.submodule_search_locations if spec is not None else None
    files = [Path(folder) / 'datasets' / 'data' / 'digits.csv.gz' for folder in folders or ()]
    file = next(filter(Path.is_file, files), None)
    if file is None:
        # another version of scikit-learn, which alone knows where it keeps them
        from sklearn.datasets import load_digits

        return load_digits(return_X_y=True)
    table = np.loadtxt(file, delimiter=',')  # (1797, 65): the label comes last
    return table[:, :-1], table[:, -1].astype(int)


def _split_indices(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Divide all images, class by class in proportion: split -> sorted indices into ``labels`` (N,)."""
    rest, test = draw_stratified(labels, [len(labels) - TEST_SIZE, TEST_SIZE], SPLIT_SEED)
    train, val = draw_stratified(labels[rest], [len(rest) - VAL_SIZE, VAL_SIZE], SPLIT_SEED)
    return {'train': np.sort(rest[train]), 'val': np.sort(rest[val]), 'test': np.sort(test)}
