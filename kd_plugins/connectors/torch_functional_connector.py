"""Connector that calls a function of torch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule

from kd_plugins.errors import Fault, UserError, closest
from kd_plugins.registry import MODELS

# torch.nn.functional also holds what it imports for itself
_HOMES = ('torch.nn.functional', 'torch', 'torch._C._nn')
FUNCTIONS = {
    name: function
    for name, function in vars(F).items()
    if inspect.isroutine(function) and function.__module__ in _HOMES and not name.startswith('_')
}


@MODELS.register_module()
class TorchFunctionalConnector(BaseModule):
    """Passes a record through a function of ``torch.nn.functional``; it has no weights.

    Args:
        function_name: Name of the function, ``'avg_pool2d'`` for one.
        func_args: Arguments of the function after the record, by name.
        init_cfg: Initialisation of mmengine.

    Raises:
        UserError: ``torch.nn.functional`` has no such function.

    Example:
        >>> connector = TorchFunctionalConnector('avg_pool2d', dict(kernel_size=4))
        >>> connector(torch.rand(2, 256, 16, 16)).shape
        torch.Size([2, 256, 4, 4])
    """

    def __init__(
        self,
        function_name: str,
        func_args: Mapping[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if function_name not in FUNCTIONS:
            expected, advice = 'a function of torch.nn.functional', closest(str(function_name), FUNCTIONS)
            raise UserError(Fault('function_name', expected, repr(function_name), advice))
        self.function_name = function_name
        self.func_args = dict(func_args or {})

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """Call the function.

        Args:
            feature: Of any shape that the function takes.

        Returns:
            What the function returns.
        """
        return FUNCTIONS[self.function_name](feature, **self.func_args)

    def extra_repr(self) -> str:
        """Function and arguments, for the printed model."""
        return ', '.join([self.function_name, *(f'{name}={value!r}' for name, value in self.func_args.items())])
