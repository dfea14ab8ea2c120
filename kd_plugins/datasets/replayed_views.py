"""Data set that shows a fixed number of augmented views of each sample, the same ones in any process and order."""

from __future__ import annotations

from typing import Any

from mmengine.structures import BaseDataElement

from kd_plugins.datasets.dataset_wrapper import DatasetWrapper
from kd_plugins.errors import Fault, UserError
from kd_plugins.randomness import seeded
from kd_plugins.registry import DATASETS

ROW = 'teacher_row'


@DATASETS.register_module()
class ReplayedViews(DatasetWrapper):
    """Wraps a data set of random augmentations so that they can be seen again.

    Of N samples and K views there are N * K rows: ``row = view * N + index``. A row is loaded under random states that
    depend on the seed and the row alone: Python's ``random``, NumPy's global one and torch's default generator on the
    CPU. So its pixels are the same in any epoch, order, worker and process. Random states are as before afterwards. The
    data sample of a row carries it as ``teacher_row``.

    ``len`` is N, so that samplers and schedules count epochs as without: ``ViewSampler`` asks for the views. Whatever
    else is asked of this data set, the wrapped one answers.

    Args:
        dataset: The data set that is wrapped, or its config. Its items have data samples of OpenMMLab.
        views: Views of each sample, K.
        seed: A whole number from 0 on.

    Raises:
        UserError: ``views`` or ``seed`` is out of its range.

    Example:
        >>> from mmengine.structures import BaseDataElement
        >>> class Noise:
        ...     def __len__(self):
        ...         return 5
        ...     def __getitem__(self, index):
        ...         return dict(inputs=torch.rand(2), data_samples=BaseDataElement())
        >>> noise = ReplayedViews(Noise(), views=3)
        >>> len(noise), noise.rows, noise.row_of(view=2, index=1)
        (5, 15, 11)
        >>> bool(torch.equal(noise[11]['inputs'], noise[11]['inputs'])), noise[11]['data_samples'].teacher_row
        (True, 11)
    """

    def __init__(self, dataset: Any, views: int = 1, seed: int = 0) -> None:
        for name, value, least in (('views', views, 1), ('seed', seed, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UserError(Fault(name, f'a whole number from {least} on', repr(value), 'correct it'))
        super().__init__(dataset, views=views, seed=seed)

    @property
    def rows(self) -> int:
        """Number of the rows, N * K."""
        return len(self) * self.views

    def row_of(self, view: int, index: int) -> int:
        """The row of a view of a sample.

        Args:
            view: From 0; the views begin anew after the last.
            index: Place of the sample in the wrapped data set.
        """
        return (view % self.views) * len(self) + index

    def get_data_info(self, row: int) -> Any:
        """What the wrapped data set knows about the sample of a row, before its pipeline."""
        with seeded(self.seed, row):
            return self.dataset.get_data_info(row % len(self))

    def get_cat_ids(self, row: int) -> Any:
        """The categories of the sample of a row."""
        return self.dataset.get_cat_ids(row % len(self))

    def __getitem__(self, row: int) -> Any:
        row = int(row)
        if not 0 <= row < self.rows:
            raise IndexError(f'row {row} of {self.views} views of {len(self)} samples')
        with seeded(self.seed, row):
            item = self.dataset[row % len(self)]
        sample = item.get('data_samples') if isinstance(item, dict) else None
        if not isinstance(sample, BaseDataElement):
            got = f'a {type(sample).__name__}' if isinstance(item, dict) else f'a {type(item).__name__}'
            expected = f'items of {type(self.dataset).__name__} with a data sample of OpenMMLab to carry the row'
            raise UserError(Fault('dataset', expected, got, "end its pipeline with dict(type='PackInputs')"))
        sample.set_metainfo({ROW: row})
        return item
