"""A data set around another one, which answers for it in everything else."""

from __future__ import annotations

from typing import Any

from kd_plugins.registry import DATASETS


class DatasetWrapper:
    """Holds a data set and passes on what it does not know itself, to be read and to be set.

    So hooks and samplers that look at a data set, or exchange its pipeline, need not know that it is wrapped.

    Args:
        dataset: The data set that is wrapped, or its config.
        own: The attributes of the wrapper itself.
    """

    def __init__(self, dataset: Any, **own: Any) -> None:
        self.__dict__.update(own, dataset=DATASETS.build(dataset) if isinstance(dataset, dict) else dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        # what is looked up before __init__ ran, as while unpickling, is not there yet
        if name.startswith('__') or 'dataset' not in self.__dict__:
            raise AttributeError(f'{type(self).__name__} has no attribute {name!r}')
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__:
            self.__dict__[name] = value
        else:
            setattr(self.dataset, name, value)
