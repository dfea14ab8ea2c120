"""Recorder of a parameter."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from kd_plugins.errors import Fault, UserError, closest
from kd_plugins.recorders.recorder import Recorder
from kd_plugins.registry import TASK_UTILS


@TASK_UTILS.register_module(name=['Parameter', 'ParameterRecorder'])
class Parameter(Recorder):
    """Records a parameter itself, not a copy, once however often the model runs while the recorder is entered.

    Args:
        source: Name of the parameter as ``model.named_parameters()`` gives it, e.g. ``'head.fc.weight'``.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 2))
        >>> recorder = Parameter('0.weight')
        >>> recorder.attach(model)
        >>> with recorder:
        ...     _ = model(torch.rand(3, 4))
        >>> [record is model[0].weight for record in recorder.pop()]
        [True]
    """

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self._handle: RemovableHandle | None = None

    def attach(self, model: nn.Module) -> None:
        """Find the parameter ``source`` of ``model``, and hook the model.

        Raises:
            UserError: The model has no parameter of that name; the closest names are given.
        """
        names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
        if self.source not in names:
            expected = f'a parameter of {type(model).__name__}'
            raise UserError(Fault('source', expected, repr(self.source), closest(self.source, names)))
        self.detach()
        self._handle = model.register_forward_hook(self._record)

    def detach(self) -> None:
        """Remove the hook."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _record(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if self.recording and not self._records:
            self._records.append(module.get_parameter(self.source))
