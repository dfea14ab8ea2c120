"""A copy of a module's tensors that they can go back to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

Named = Mapping[str, torch.Tensor]


class KeptTensors:
    """Keeps the values that some tensors have at one time, in memory that is used again the next time.

    Args:
        current: Returns the tensors by name, as they are held at present: a module may put another in the place of one.
    """

    def __init__(self, current: Callable[[], Named]) -> None:
        self._current = current
        self._kept: dict[str, torch.Tensor] = {}

    def keep(self) -> None:
        """Remember what the tensors are now, and forget what they were before."""
        now = self._current()
        fitting = {name: kept for name, kept in self._kept.items() if name in now and _match(kept, now[name])}
        _copy(fitting, now)
        new = {name: tensor.detach().clone() for name, tensor in now.items() if name not in fitting}
        self._kept = {**fitting, **new}

    def restore(self) -> None:
        """Make the tensors what they were; one that has come since, or has another shape now, stays."""
        now = self._current()
        _copy(
            {name: now[name] for name, kept in self._kept.items() if name in now and _match(kept, now[name])},
            self._kept,
        )


def _match(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and one.device == other.device


def _copy(targets: Named, sources: Named) -> None:
    if targets:
        with torch.no_grad():
            torch._foreach_copy_(list(targets.values()), [sources[name] for name in targets])
