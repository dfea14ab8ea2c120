"""What every recorder is: attached to a model, recording while entered, popped once per step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any

from torch import nn


class Recorder(ABC):
    """Taps one source of a model during its forward.

    ``attach`` resolves the source and ``detach`` leaves the model as it was found; in between, entering the recorder
    starts recording and leaving it stops. ``pop`` returns what was recorded and forgets it.

    Args:
        source: Name of what is tapped; its meaning belongs to the subclass.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.recording = False
        self._records: list[Any] = []

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
        """Return the records of the last forward, one per call of the source, and forget them."""
        records, self._records = self._records, []
        return records

    def __enter__(self) -> Recorder:
        self._records = []
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
            self._records = []
