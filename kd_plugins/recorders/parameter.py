"""Recorder of a parameter."""

from __future__ import annotations

from torch import nn

from kd_plugins.errors import Fault, UserError, closest
from kd_plugins.recorders.recorder import Recorder
from kd_plugins.registry import TASK_UTILS


@TASK_UTILS.register_module(name=['Parameter', 'ParameterRecorder'])
class Parameter(Recorder):
    """Records a parameter itself, not a copy, once each time it is entered, however often the model runs then.

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
        self._model: nn.Module | None = None

    def attach(self, model: nn.Module) -> None:
        """Find the parameter ``source`` of ``model``.

        Raises:
            UserError: The model has no parameter of that name; the closest names are given.
        """
        names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
        if self.source not in names:
            expected = f'a parameter of {type(model).__name__}'
            raise UserError(Fault('source', expected, repr(self.source), closest(self.source, names)))
        self._model = model

    def detach(self) -> None:
        """Let go of the model."""
        self._model = None

    def __enter__(self) -> Recorder:
        super().__enter__()
        self._forget()
        return self

    def _forget(self) -> None:
        super()._forget()
        # there from the beginning, as a part of the model may run in its place
        if self.recording and self._model is not None:
            self._records = [self._model.get_parameter(self.source)]
