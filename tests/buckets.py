"""A batch sampler that holds samples back until a batch of their kind is full, as mmdet's does by aspect ratio."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import BatchSampler, Sampler


@DATA_SAMPLERS.register_module()
class Buckets(BatchSampler):
    """Batches of even and of odd indices; what is left at the end of a pass is mixed."""

    def __init__(self, sampler: Sampler, batch_size: int, drop_last: bool = False) -> None:
        super().__init__(sampler, batch_size, drop_last)
        self.buckets: tuple[list[int], list[int]] = ([], [])

    def __iter__(self) -> Iterator[list[int]]:
        for index in self.sampler:
            bucket = self.buckets[index % 2]
            bucket.append(index)
            if len(bucket) == self.batch_size:
                yield bucket[:]
                bucket.clear()
        left = self.buckets[0] + self.buckets[1]
        self.buckets = ([], [])
        for start in range(0, len(left), self.batch_size):
            yield left[start : start + self.batch_size]
