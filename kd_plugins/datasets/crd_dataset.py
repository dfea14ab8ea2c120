"""Data set for contrastive representation distillation: each image with the places of images of other classes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset, force_full_init

from kd_plugins.arguments import require_choice
from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import DATASETS

SAMPLE_MODES = ('exact', 'random')


@DATASETS.register_module()
class CRDDataset:
    """Wraps a classification data set and tells each image of it which other images it is contrasted with.

    In training, each image's data gets ``contrast_sample_idxs``, (1 + neg_num): the place of a positive image, then
    those of images of other classes, drawn anew each time with numpy's global random state, without replacement as
    long as there are enough. ``PackCRDClsInputs`` carries them to ``CRDLoss``. A data set in test mode passes as it is.

    It is optional: with a plain data set ``CRDLoss`` draws the places itself, on the device and from all classes,
    which is faster for large data sets.

    Paper: Contrastive Representation Distillation, https://arxiv.org/abs/1910.10699

    Args:
        dataset: The data set that is wrapped, or its config.
        neg_num: Number of images of other classes for each image.
        percent: Share of the images of other classes that is drawn from, in (0, 1], chosen once for each class.
        lazy_init: Leave the data set unread until ``full_init``.
        num_classes: Number of classes, to hold the labels against; None for no check.
        sample_mode: Positive image: ``'exact'``, the image itself, or ``'random'``, one of its class.

    Raises:
        UserError: An argument is out of its range, a label is not below ``num_classes``, or there is one class only.
    """

    def __init__(
        self,
        dataset: BaseDataset | dict[str, Any],
        neg_num: int,
        percent: float = 1.0,
        lazy_init: bool = False,
        num_classes: int | None = None,
        sample_mode: str = 'exact',
    ) -> None:
        if isinstance(neg_num, bool) or not isinstance(neg_num, int) or neg_num < 1:
            raise UserError(Fault('neg_num', 'a whole number above 0', repr(neg_num), '16384 is the usual one'))
        if isinstance(percent, bool) or not isinstance(percent, (int, float)) or not 0 < percent <= 1:
            raise UserError(Fault('percent', 'a share in (0, 1]', repr(percent), 'write percent=1.0 for all images'))
        require_choice('sample_mode', sample_mode, SAMPLE_MODES, "'exact' is the usual one")
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        if not isinstance(self.dataset, BaseDataset):
            got = f'a {type(self.dataset).__name__}'
            advice = 'wrap it the other way, or list the images of several data sets in one annotation file'
            raise UserError(Fault('dataset', 'a BaseDataset of mmengine, or its config', got, advice))
        self.neg_num = neg_num
        self.percent = percent
        self.num_classes = num_classes
        self.sample_mode = sample_mode
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    @property
    def metainfo(self) -> dict[str, Any]:
        """What the wrapped data set says about itself, such as the names of its classes."""
        return copy.deepcopy(self.dataset.metainfo)

    def full_init(self) -> None:
        """Read the wrapped data set and sort its images by class."""
        if self._fully_initialized:
            return
        self.dataset.full_init()
        if not self.dataset.test_mode:
            self._sort()
        self._fully_initialized = True

    def _sort(self) -> None:
        found = [self.dataset.get_data_info(index).get('gt_label') for index in range(len(self.dataset))]
        if not all(np.ndim(label) == 0 and isinstance(label, (int, np.integer, np.ndarray)) for label in found):
            advice = 'wrap a classification data set of one label an image'
            raise UserError(Fault('dataset', 'one class index gt_label an image', 'others', advice))
        labels = np.asarray(found, dtype=np.int64)
        classes, ranks = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            advice = 'images are contrasted with those of other classes'
            raise UserError(Fault('dataset', 'images of two classes at least', f'{len(classes)}', advice))
        if self.num_classes is not None and classes[-1] >= self.num_classes:
            got = f'a label {classes[-1]}'
            raise UserError(Fault('num_classes', f'labels below {self.num_classes}', got, 'choose a larger one'))
        self._ranks = ranks
        # class by class, so that the others of a class are what stands before and after it
        self._order = np.argsort(labels, kind='stable')
        self._bounds = np.concatenate([[0], np.cumsum(np.bincount(ranks))])
        self._pools = []
        if self.percent < 1:
            counts = [int(len(labels) - size) for size in np.diff(self._bounds)]
            self._pools = [np.random.permutation(count)[: max(int(count * self.percent), 1)] for count in counts]

    def _contrast_places(self, index: int) -> np.ndarray:
        """Places of a positive image and of ``neg_num`` of other classes: (1 + neg_num)."""
        rank = self._ranks[index]
        start, stop = self._bounds[rank : rank + 2]
        positive = index if self.sample_mode == 'exact' else self._order[start + np.random.choice(stop - start)]
        pool: Any = self._pools[rank] if self._pools else len(self._order) - (stop - start)
        count = len(pool) if self._pools else pool
        drawn = np.random.choice(pool, self.neg_num, replace=self.neg_num > count)
        others = self._order[np.where(drawn < start, drawn, drawn + (stop - start))]
        return np.concatenate([[positive], others])

    @force_full_init
    def get_data_info(self, idx: int) -> dict[str, Any]:
        """What is known about an image, before the pipeline.

        Args:
            idx: Place of the image in the data set.
        """
        info = self.dataset.get_data_info(idx)
        if not self.dataset.test_mode:
            info['contrast_sample_idxs'] = self._contrast_places(idx)
        return info

    @force_full_init
    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, idx: int) -> Any:
        attempts = 1 if self.dataset.test_mode else self.dataset.max_refetch + 1
        for _ in range(attempts):
            sample = self.dataset.pipeline(self.get_data_info(idx))
            if sample is not None:
                return sample
            idx = self.dataset._rand_another()
        raise RuntimeError(f'the pipeline returned None {attempts} times: are the images there, and whole?')
