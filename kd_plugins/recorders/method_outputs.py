"""Recorder of what a method returns."""

from __future__ import annotations

from types import FunctionType, ModuleType

from kd_plugins.errors import Fault, UserError, closest
from kd_plugins.recorders.patched import Patched, import_path, require_function, split_source
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

    def _find(self) -> tuple[ModuleType | type, str, FunctionType]:
        path, owner, name = split_source(self.source, 'package.module.Class.method')
        module = import_path(path)
        cls = getattr(module, owner, None)
        if not isinstance(cls, type):
            classes = (member for member, found in vars(module).items() if isinstance(found, type))
            got = repr(owner) if cls is None else f'{owner!r}, a {type(cls).__name__}'
            advice = closest(owner, classes)
            if isinstance(cls, ModuleType):
                advice = 'a function is recorded by FunctionOutputs or FunctionInputs, as package.module.function'
            raise UserError(Fault('source', f'a class of {path}', got, advice))
        members = {member: found for base in reversed(cls.__mro__) for member, found in vars(base).items()}
        expected = f'a Python method of {path}.{owner} that takes self'
        return cls, name, require_function(members.get(name), name, expected, members)
