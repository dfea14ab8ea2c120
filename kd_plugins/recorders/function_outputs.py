"""Recorder of what a function returns."""

from __future__ import annotations

from types import FunctionType, ModuleType

from kd_plugins.recorders.patched import Patched, import_path, require_function, split_source
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

    def _find(self) -> tuple[ModuleType | type, str, FunctionType]:
        path, name = split_source(self.source, 'package.module.function')
        module = import_path(path)
        found = getattr(module, name, None)
        return module, name, require_function(found, name, f'a Python function of {path}', vars(module))
