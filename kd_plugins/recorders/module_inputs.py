"""Recorder of what a module is called with."""

from __future__ import annotations

from typing import Any

from torch import nn

from kd_plugins.recorders.module_outputs import ModuleOutputs
from kd_plugins.registry import TASK_UTILS


@TASK_UTILS.register_module(name=['ModuleInputs', 'ModuleInputsRecorder'])
class ModuleInputs(ModuleOutputs):
    """Records the positional arguments of a module, a tuple for each time that it is called.

    A single argument is chosen with ``data_idx`` where the record is used.

    Args:
        source: Path of the module, as for :class:`ModuleOutputs`.
    """

    def _record(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self._keep(inputs)
