"""The recorders of one model, entered together and popped together."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from torch import nn

from kd_plugins.build import build_component
from kd_plugins.errors import Fault, UserError, join_path
from kd_plugins.recorders.recorder import Recorder
from kd_plugins.registry import TASK_UTILS


class RecorderSet:
    """Builds recorders from a config and treats them as one.

    Args:
        configs: Recorder config by the recorder's name.
        where: Key path of ``configs``, for messages.

    Raises:
        UserError: A config is not that of a recorder.
    """

    def __init__(self, configs: Mapping[str, Any] | None, where: str = '') -> None:
        self.where = where
        self.recorders: dict[str, Recorder] = {
            name: build_component(TASK_UTILS, config, join_path(where, name))
            for name, config in (configs or {}).items()
        }

    def attach(self, model: nn.Module) -> None:
        """Attach every recorder to ``model``.

        Raises:
            UserError: With all sources that are not in the model; no recorder stays attached then.
        """
        faults: list[Fault] = []
        for name, recorder in self.recorders.items():
            try:
                recorder.attach(model)
            except UserError as error:
                faults.extend(error.within(join_path(self.where, name)).faults)
        if faults:
            self.detach()
            raise UserError(*faults)

    def detach(self) -> None:
        """Detach every recorder."""
        for recorder in self.recorders.values():
            recorder.detach()

    def pop(self) -> dict[str, list[Any]]:
        """The records of the last forward by recorder; the recorders forget them."""
        return {name: recorder.pop() for name, recorder in self.recorders.items()}

    def __enter__(self) -> RecorderSet:
        for recorder in self.recorders.values():
            recorder.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for recorder in self.recorders.values():
            recorder.__exit__(exc_type, exc_value, traceback)
