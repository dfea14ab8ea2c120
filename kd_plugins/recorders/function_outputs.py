"""Recorder of what a function returns."""

from __future__ import annotations

from kd_plugins.recorders.lookup import Place, find_function
from kd_plugins.recorders.patched import Patched
from kd_plugins.registry import TASK_UTILS


@TASK_UTILS.register_module(name=['FunctionOutputs', 'FunctionOutputsRecorder'])
class FunctionOutputs(Patched):
    """Records what a function returns, once for each time that it is called.

    Args:
        source: Path of the function as ``'package.module.function'``, in the module whose code calls it: a function of
            ``a`` that ``b`` calls after ``from a import function`` is ``'b.function'``. It has to be written in
            Python; what comes from C, such as ``torch.nn.functional.conv2d``, cannot be recorded.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 2), nn.ReLU())
        >>> recorder = FunctionOutputs('torch.nn.functional.relu')
        >>> recorder.attach(model)
        >>> with recorder:
        ...     _ = model(torch.rand(3, 4))
        >>> [record.shape for record in recorder.pop()]
        [torch.Size([3, 2])]
    """

    def _find(self) -> Place:
        return find_function(self.source, 'source')
