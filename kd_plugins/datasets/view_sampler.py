"""Sampler that chooses which view of each sample an epoch sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.dataset import InfiniteSampler
from torch.utils.data import Sampler

from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import DATA_SAMPLERS

# gives a sample several times in an epoch, to be augmented differently each time
REPEATING = 'RepeatAugSampler'


@DATA_SAMPLERS.register_module()
class ViewSampler(Sampler):
    """Wraps a sampler of ``ReplayedViews``: the same samples in the same order, each as a row of that data set.

    Epoch e sees view e modulo K. A sampler that never ends has no epochs: there it counts how often the data were
    passed.

    Args:
        sampler: Config of the sampler.
        dataset: A ``ReplayedViews``.
        seed: Of the sampler, where its config names none.

    Raises:
        UserError: The data set has no views, or the sampler gives a sample several times in an epoch.
    """

    def __init__(self, sampler: dict[str, Any], dataset: Any, seed: int | None = None) -> None:
        if not hasattr(dataset, 'row_of'):
            advice = "write dataset=dict(type='kd_plugins.ReplayedViews', dataset=…)"
            raise UserError(Fault('train_dataloader.dataset', 'ReplayedViews', type(dataset).__name__, advice))
        self.dataset = dataset
        self.sampler = DATA_SAMPLERS.build(sampler, default_args=dict(dataset=dataset, seed=seed))
        self.epoch = 0
        if type(self.sampler).__name__ == REPEATING:
            got, advice = REPEATING, "write dict(type='DefaultSampler', shuffle=True)"
            raise UserError(Fault('train_dataloader.sampler', 'a sampler that repeats no sample', got, advice))

    @property
    def seed(self) -> int | None:
        """Of the sampler, which may have drawn it."""
        return getattr(self.sampler, 'seed', None)

    def __iter__(self) -> Iterator[int]:
        for place, index in enumerate(self.sampler):
            yield self.dataset.row_of(self.epoch + self._passes(place), index)

    def _passes(self, place: int) -> int:
        """How often the data were passed before the sample at a place of what this process gets."""
        if isinstance(self.sampler, InfiniteSampler):
            # the processes deal one stream out among them
            return (place * self.sampler.world_size + self.sampler.rank) // self.sampler.size
        return place // max(len(self.sampler), 1)

    def __len__(self) -> int:
        return len(self.sampler)

    def set_epoch(self, epoch: int) -> None:
        """Tell which epoch comes.

        Args:
            epoch: From 0.
        """
        # an endless sampler counts by itself
        self.epoch = 0 if isinstance(self.sampler, InfiniteSampler) else epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)
