"""Recorder of what a method returns."""

from __future__ import annotations

from kd_plugins.recorders.lookup import Place, find_method
from kd_plugins.recorders.patched import Patched
from kd_plugins.registry import TASK_UTILS


@TASK_UTILS.register_module(name=['MethodOutputs', 'MethodOutputsRecorder'])
class MethodOutputs(Patched):
    """Records what a method returns, once for each time that it is called on any object of its class.

    Args:
        source: Path of the method as ``'package.module.Class.method'``. The method may be inherited; only the calls on
            objects of ``Class`` are recorded then. Methods that do not take ``self`` (static methods, class methods,
            properties) cannot be recorded.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 5))
        >>> recorder = MethodOutputs('torch.nn.Linear.forward')
        >>> recorder.attach(model)
        >>> with recorder:
        ...     _ = model(torch.rand(3, 4))
        >>> [record.shape for record in recorder.pop()]
        [torch.Size([3, 2]), torch.Size([3, 5])]
    """

    def _find(self) -> Place:
        return find_method(self.source, 'source')
