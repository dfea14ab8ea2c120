"""Sampler that can begin in the middle, and says of each sample when it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from torch.utils.data import Sampler

from kd_plugins.registry import DATA_SAMPLERS


class Draw(int):
    """An index into a data set that knows when it is drawn.

    Args:
        index: The index.
        moment: Which pass over the data, and which place in it, both from 0.
    """

    moment: tuple[int, int]

    def __new__(cls, index: int, moment: tuple[int, int]) -> Draw:
        """Add the moment to an index."""
        draw = super().__new__(cls, index)
        draw.moment = moment
        return draw

    def __reduce__(self) -> Any:
        return Draw, (int(self), self.moment)


@DATA_SAMPLERS.register_module()
class ResumableSampler(Sampler):
    """Wraps a sampler so that a training can go on in the middle of a pass over the data.

    The indices are those of the wrapped sampler, each a :class:`Draw`. A pass is an epoch; of a sampler that never
    ends there is one.

    Args:
        sampler: Config of the sampler.
        dataset: What it samples from.
        seed: Of the sampler, where its config names none.
    """

    def __init__(self, sampler: dict[str, Any], dataset: Any, seed: int | None = None) -> None:
        build = partial(DATA_SAMPLERS.build, dict(sampler))
        self.sampler: Any = build(default_args=dict(dataset=dataset, seed=seed))
        # one that was given none has drawn it
        self._build = partial(build, default_args=dict(dataset=dataset, seed=getattr(self.sampler, 'seed', seed)))
        self.epoch = 0
        self._first = 0
        self._then: Callable[[], None] | None = None

    def start_at(self, place: int, then: Callable[[], None] | None = None) -> None:
        """Let the next pass begin later.

        Args:
            place: Of the first sample, from 0, in what this process draws.
            then: Called once the samples before it are drawn, for a sampler that draws them by chance.
        """
        # one that never ends goes on where it was otherwise
        self.sampler = self._build()
        self.set_epoch(self.epoch)
        self._first, self._then = place, then

    def set_epoch(self, epoch: int) -> None:
        """Tell which pass comes.

        Args:
            epoch: From 0.
        """
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        first, then = self._first, self._then
        self._first, self._then = 0, None
        drawn = enumerate(self.sampler)
        for _ in range(first):
            next(drawn, None)
        if then is not None:
            then()
        epoch = self.epoch
        for place, index in drawn:
            yield Draw(index, (epoch, place))

    def __len__(self) -> int:
        return len(self.sampler)

    def __getattr__(self, name: str) -> Any:
        # batch samplers look at what they are given: mmdet's asks it for the data set
        if name.startswith('__') or 'sampler' not in self.__dict__:
            raise AttributeError(f'{type(self).__name__} has no attribute {name!r}')
        return getattr(self.sampler, name)
