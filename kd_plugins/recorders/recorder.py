"""What every recorder is: attached to a model, recording while entered, popped once per step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch
from torch import nn

from kd_plugins.recorders.checkpointed import PartlyRecomputed, is_recomputed
from kd_plugins.recorders.tensors import map_tensors, tensors_of


class Recorder(ABC):
    """Taps one source of a model during its forward.

    ``attach`` resolves the source and ``detach`` leaves the model as it was found; in between, entering the recorder
    starts recording and leaving it stops. ``pop`` returns what was recorded and forgets it.

    A source under gradient checkpointing is recorded once, in the forward; what runs again in the backward is not.

    Args:
        source: Name of what is tapped; its meaning belongs to the subclass.

    Attributes:
        recording: Whether it is entered.
        told: Called with the recorder and each new record, where that is wanted.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.recording = False
        self.told: Callable[[Recorder, Any], None] | None = None
        self._records: list[Any] = []
        self._recomputed: set[int] = set()

    @abstractmethod
    def attach(self, model: nn.Module) -> None:
        """Find the source in ``model`` and prepare to record it.

        Raises:
            UserError: The source is not in the model; the closest names are given.
        """

    @abstractmethod
    def detach(self) -> None:
        """Undo ``attach``. Detaching twice does nothing."""

    def pop(self) -> list[Any]:
        """Return the records of the last forward, one per call of the source, and forget them.

        A call inside a reentrant gradient checkpoint has no gradient: asking the list for its record raises a
        ``UserError``.
        """
        records, recomputed = self._records, self._recomputed
        self._forget()
        return PartlyRecomputed(records, recomputed, self.source) if recomputed else records

    def parts(self) -> tuple[Recorder, ...]:
        """The recorders that do the recording: this one, unless it is made of others."""
        return (self,)

    @property
    def calls(self) -> int:
        """How many calls of the source are recorded by now."""
        return len(self._records)

    def tensors(self) -> list[torch.Tensor]:
        """The tensors that are recorded by now, in their order."""
        return tensors_of(self._records)

    def replace(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Put another tensor in the place of each that is recorded."""
        self._records = [map_tensors(record, function) for record in self._records]

    def __enter__(self) -> Recorder:
        self._forget()
        self.recording = True
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.recording = False
        if exc_type is not None:
            self._forget()

    def _keep(self, record: Any) -> None:
        """Note one call of the source, while entered."""
        if not self.recording:
            return
        if is_recomputed() and any(part.is_floating_point() and not part.requires_grad for part in tensors_of(record)):
            self._recomputed.add(len(self._records))
        self._records.append(record)
        if self.told is not None:
            self.told(self, record)

    def _forget(self) -> None:
        self._records = []
        self._recomputed = set()
