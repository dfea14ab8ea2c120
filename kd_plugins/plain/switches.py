"""The switches of two models that a distiller changes, and puts back."""

from __future__ import annotations

from typing import Any

from torch import nn


class Switches:
    """Remembers what has to be restored when a distiller is closed.

    Args:
        student: Its ``inplace`` switches are remembered.
        teacher: Its ``inplace`` switches, the mode of each module and ``requires_grad`` of each parameter.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        self._found: list[tuple[Any, str, bool]] = [
            *((module, 'training', module.training) for module in teacher.modules()),
            *((weight, 'requires_grad', weight.requires_grad) for weight in teacher.parameters()),
            *(
                (module, 'inplace', True)
                for model in (student, teacher)
                for module in model.modules()
                if getattr(module, 'inplace', False) is True
            ),
        ]

    def restore(self) -> None:
        """Set every switch as it was found."""
        # not by train() and requires_grad_() of the whole: its author may have frozen a part
        for owner, name, value in self._found:
            setattr(owner, name, value)
