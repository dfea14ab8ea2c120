"""Recorder of what a module returns."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from kd_plugins.errors import Fault, UserError, closest
from kd_plugins.recorders.recorder import Recorder
from kd_plugins.registry import TASK_UTILS


@TASK_UTILS.register_module(name=['ModuleOutputs', 'ModuleOutputsRecorder'])
class ModuleOutputs(Recorder):
    """Records the output of a module, once for each time that it is called.

    Args:
        source: Path of the module as ``model.named_modules()`` gives it, e.g. ``'backbone.layer4.1.relu'``; ``''``
            for the model itself.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 2))
        >>> recorder = ModuleOutputs('0')
        >>> recorder.attach(model)
        >>> with recorder:
        ...     _ = model(torch.rand(3, 4))
        >>> [record.shape for record in recorder.pop()]
        [torch.Size([3, 2])]
    """

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self._handle: RemovableHandle | None = None

    def attach(self, model: nn.Module) -> None:
        """Hook the module ``source`` of ``model``.

        Raises:
            UserError: The model has no module of that name; the closest names are given.
        """
        modules = dict(model.named_modules(remove_duplicate=False))
        if self.source not in modules:
            raise UserError(
                Fault(
                    'source',
                    f'a module of {type(model).__name__}',
                    repr(self.source),
                    closest(self.source, filter(None, modules)),
                )
            )
        self.detach()
        self._handle = modules[self.source].register_forward_hook(self._record)

    def detach(self) -> None:
        """Remove the hook."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _record(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if self.recording:
            self._records.append(output)
