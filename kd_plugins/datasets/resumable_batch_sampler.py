"""Batch sampler that can begin in the middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from torch.utils.data import Sampler

from kd_plugins.datasets.resumable_sampler import ResumableSampler
from kd_plugins.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class ResumableBatchSampler(Sampler):
    """Wraps a batch sampler so that a training can go on in the middle of a pass over the data.

    Args:
        batch_sampler: Config of the batch sampler.
        sampler: Where it has its samples from.
        batch_size: Of its batches, where its config names none.
    """

    def __init__(self, batch_sampler: dict[str, Any], sampler: ResumableSampler, batch_size: Any) -> None:
        self.sampler = sampler
        arguments = dict(sampler=sampler, batch_size=batch_size)
        self._build = partial(DATA_SAMPLERS.build, dict(batch_sampler), default_args=arguments)
        self.batch_sampler: Any = self._build()
        self._first = 0
        self._then: Callable[[], None] | None = None

    def start_at(self, batch: int, then: Callable[[], None] | None = None) -> None:
        """Let the next pass begin later.

        Args:
            batch: The first one, from 0.
            then: Called once the batches before it are drawn.
        """
        self.sampler.start_at(0)
        # it may hold samples back, of a pass that has begun
        self.batch_sampler = self._build()
        self._first, self._then = batch, then

    def __iter__(self) -> Iterator[list[int]]:
        first, then = self._first, self._then
        self._first, self._then = 0, None
        batches = iter(self.batch_sampler)
        for _ in range(first):
            next(batches, None)
        if then is not None:
            then()
        yield from batches

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __getattr__(self, name: str) -> Any:
        # as of a data loader's own
        if name.startswith('__') or 'batch_sampler' not in self.__dict__:
            raise AttributeError(f'{type(self).__name__} has no attribute {name!r}')
        return getattr(self.batch_sampler, name)
