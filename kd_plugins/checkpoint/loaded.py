"""Which tensors of a model got their values from a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch
from torch import nn

from kd_plugins.checkpoint.content import WEIGHTS


class LoadedTensors:
    """The tensors that were loaded while :func:`watching_loads` watched, and the file of each.

    What counts is that a value was copied into the tensor, not what a config says: a name that the model does not have,
    a tensor of another shape and a tensor that the file lacks count for nothing.
    """

    def __init__(self) -> None:
        self._files: WeakKeyDictionary[nn.Module, dict[str, str]] = WeakKeyDictionary()
        # what was read, for as long as somebody holds it, and from which file
        self._read: WeakValueDictionary[int, torch.Tensor] = WeakValueDictionary()
        self._sources: dict[int, str] = {}

    def note_file(self, path: str, content: Mapping[str, Any]) -> None:
        """Remember which tensors are those of a file.

        Args:
            path: As the user gave it.
            content: Of the file.
        """
        for part in (content, *(content.get(key) for key in WEIGHTS)):
            for tensor in part.values() if isinstance(part, Mapping) else ():
                if isinstance(tensor, torch.Tensor):
                    self._read[id(tensor)] = tensor
                    self._sources[id(tensor)] = path

    def note_load(self, module: nn.Module, name: str, value: Any) -> None:
        """Remember that a tensor of a module got a value.

        Args:
            module: The module that holds the tensor itself.
            name: Of the tensor in the module.
            value: What was copied.
        """
        known = self._read.get(id(value)) is value
        self._files.setdefault(module, {})[name] = self._sources[id(value)] if known else ''

    def file_of(self, module: nn.Module, name: str) -> str | None:
        """Where a tensor came from.

        Args:
            module: The module that holds the tensor itself.
            name: Of the tensor in the module.

        Returns:
            The file; ``''`` where it was loaded from something else, or was changed in between; None where it was not
            loaded.
        """
        return self._files.get(module, {}).get(name)


_watchers: list[LoadedTensors] = []


@contextmanager
def watching_loads() -> Iterator[LoadedTensors]:
    """Note every tensor that is loaded into any module inside, whoever loads it.

    mmengine, timm and ``nn.Module.load_state_dict`` all end in one method of ``nn.Module``, which is watched.
    """
    loaded = LoadedTensors()
    plain = nn.Module._load_from_state_dict

    def watched(module: nn.Module, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        before = {name: (id(tensor), tensor._version) for name, tensor in own_tensors(module)}
        own = {id(tensor) for _, tensor in own_tensors(module)}
        plain(module, state_dict, prefix, *args, **kwargs)
        for name, tensor in own_tensors(module):
            value = state_dict.get(prefix + name)
            # a BatchNorm gives itself the number of batches that an old file lacks
            if before.get(name) != (id(tensor), tensor._version) and id(value) not in own:
                loaded.note_load(module, name, value)

    nn.Module._load_from_state_dict = watched  # type: ignore[method-assign, assignment]
    _watchers.append(loaded)
    try:
        yield loaded
    finally:
        _watchers.remove(loaded)
        nn.Module._load_from_state_dict = plain  # type: ignore[method-assign]


def note_file(path: str, content: Mapping[str, Any]) -> None:
    """Tell all who watch that a file was read.

    Args:
        path: As the user gave it.
        content: Of the file.
    """
    for loaded in _watchers:
        loaded.note_file(path, content)


def own_tensors(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """The tensors that a module itself, without its children, puts into a ``state_dict``, by name."""
    buffers = {name: value for name, value in module._buffers.items() if name not in module._non_persistent_buffers_set}
    return [(name, value) for name, value in (module._parameters | buffers).items() if value is not None]
