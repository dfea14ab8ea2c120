"""Recorder of what a method is called with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kd_plugins.recorders.method_outputs import MethodOutputs
from kd_plugins.recorders.patched import bound_arguments
from kd_plugins.registry import TASK_UTILS


@TASK_UTILS.register_module(name=['MethodInputs', 'MethodInputsRecorder'])
class MethodInputs(MethodOutputs):
    """Records the arguments of a method without ``self``, a tuple for each time that it is called.

    The positional arguments come first, then those given by keyword in the order of the signature; defaults are not
    filled in. A single argument is chosen with ``data_idx`` where the record is used.

    Args:
        source: Path of the method, as for :class:`MethodOutputs`.

    Example:
        >>> model = nn.Linear(4, 2)
        >>> recorder = MethodInputs('torch.nn.Linear.forward')
        >>> recorder.attach(model)
        >>> with recorder:
        ...     _ = model(torch.rand(3, 4))
        >>> [features.shape for (features,) in recorder.pop()]
        [torch.Size([3, 4])]
    """

    def _record(self, names: tuple[str, ...], args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> Any:
        return bound_arguments(names, args[1:], kwargs)
