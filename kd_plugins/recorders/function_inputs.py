"""Recorder of what a function is called with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kd_plugins.recorders.function_outputs import FunctionOutputs
from kd_plugins.recorders.patched import bound_arguments
from kd_plugins.registry import TASK_UTILS


@TASK_UTILS.register_module(name=['FunctionInputs', 'FunctionInputsRecorder'])
class FunctionInputs(FunctionOutputs):
    """Records the arguments of a function, a tuple for each time that it is called.

    The positional arguments come first, then those given by keyword in the order of the signature; defaults are not
    filled in. A single argument is chosen with ``data_idx`` where the record is used.

    Args:
        source: Path of the function, as for :class:`FunctionOutputs`.

    Example:
        >>> recorder = FunctionInputs('torch.nn.functional.relu')
        >>> recorder.attach(nn.ReLU())
        >>> with recorder:
        ...     _ = nn.functional.relu(torch.rand(3), inplace=True)
        >>> [(features.shape, inplace) for features, inplace in recorder.pop()]
        [(torch.Size([3]), True)]
    """

    def _record(self, names: tuple[str, ...], args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> Any:
        return bound_arguments(names, args, kwargs)
