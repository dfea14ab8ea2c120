"""Data set whose augmentations follow from when a sample is drawn, whichever worker loads it."""

from __future__ import annotations

from typing import Any

from mmengine.dist import get_rank

from kd_plugins.datasets.dataset_wrapper import DatasetWrapper
from kd_plugins.datasets.resumable_sampler import Draw
from kd_plugins.randomness import seeded
from kd_plugins.registry import DATASETS


@DATASETS.register_module()
class SeededSamples(DatasetWrapper):
    """Loads each sample under random states of its own.

    They depend on the seed, the process, and the pass and place at which ``ResumableSampler`` draws the sample. The
    workers of a data loader have random states that no checkpoint can hold, as they run ahead of the training; these
    follow from where the training is, with any number of workers. Other indices are loaded as they are.

    Args:
        dataset: The data set that is wrapped, or its config.
        seed: Of the training, from 0 on.
    """

    def __init__(self, dataset: Any, seed: int = 0) -> None:
        super().__init__(dataset, seed=seed, rank=get_rank())

    def __getitem__(self, index: int) -> Any:
        if not isinstance(index, Draw):
            return self.dataset[index]
        with seeded(self.seed, self.rank, *index.moment):
            return self.dataset[int(index)]
