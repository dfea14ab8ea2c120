"""Connector of one module of torch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import nn

from kd_plugins.errors import Fault, UserError, closest
from kd_plugins.registry import MODELS

# without containers and base classes, which cannot run
MODULES = {
    name: module
    for name, module in vars(nn).items()
    if inspect.isclass(module) and issubclass(module, nn.Module) and module.forward is not nn.Module.forward
}


@MODELS.register_module()
class TorchNNConnector(BaseModule):
    """Passes a record through a module of ``torch.nn``, whose weights are trained with the student.

    Args:
        module_name: Name of the class, ``'AvgPool2d'`` for one.
        module_args: Arguments of its ``__init__``, by name.
        init_cfg: Initialisation of mmengine.

    Raises:
        UserError: ``torch.nn`` has no such module, or it cannot run, as ``nn.ModuleList``.

    Example:
        >>> connector = TorchNNConnector('Conv2d', dict(in_channels=256, out_channels=512, kernel_size=1))
        >>> connector(torch.rand(2, 256, 16, 16)).shape
        torch.Size([2, 512, 16, 16])
    """

    def __init__(
        self,
        module_name: str,
        module_args: Mapping[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if module_name not in MODULES:
            expected, advice = 'a module of torch.nn that can run', closest(str(module_name), MODULES)
            raise UserError(Fault('module_name', expected, repr(module_name), advice))
        self.func = MODULES[module_name](**(module_args or {}))

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """Run the module.

        Args:
            feature: Of any shape that the module takes.

        Returns:
            What the module returns.
        """
        return self.func(feature)
