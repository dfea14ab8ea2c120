"""Parts of a model that stay as they are while the rest is trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.hooks import RemovableHandle


class StillParts:
    """Holds parts of a model still, and lets them go again, between any two steps of a training.

    ``requires_grad`` is left as it is: DistributedDataParallel waits in each step for the gradient of every parameter
    that had it when the model was wrapped. Instead, the gradient of a parameter that is held becomes zero before it is
    kept, averaged over processes, or measured for clipping, and is taken away right before the optimiser steps. An
    optimiser passes over a parameter without gradient; from one of zero, momentum and weight decay would move it.

    Norms with running statistics are in eval mode while they are held: they use the statistics, and keep them. Other
    modules are in the mode of the training, Dropout too.

    Args:
        model: What is trained.
        optimizer: That trains it.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.model = model
        self._held: list[nn.Parameter] = []
        self._norms: list[nn.Module] = []
        self._handles: list[RemovableHandle] = []
        self._before_step = optimizer.register_step_pre_hook(self._take_gradients)

    def hold_all_but(self, trained: Sequence[str]) -> None:
        """Hold everything but some modules; what was held before and is among these is let go.

        Args:
            trained: Paths of these modules. A parameter that they share with others is trained.
        """
        self.let_go()
        learning = {id(weight) for path in trained for weight in self.model.get_submodule(path).parameters()}
        candidates = (weight for weight in self.model.parameters() if weight.requires_grad)
        self._held = [weight for weight in candidates if id(weight) not in learning]
        self._handles = [weight.register_hook(torch.zeros_like) for weight in self._held]
        kept = {id(module) for path in trained for module in self.model.get_submodule(path).modules()}
        self._norms = [norm for norm in _norms(self.model.modules()) if id(norm) not in kept]

    def keep_statistics(self) -> None:
        """Put the norms that are held in eval mode, from which ``model.train()`` took them."""
        for norm in self._norms:
            norm.eval()

    def let_go(self) -> None:
        """Hold nothing any more; norms are in the mode of the training after the next ``model.train()``."""
        for handle in self._handles:
            handle.remove()
        self._held, self._norms, self._handles = [], [], []

    def close(self) -> None:
        """Hold nothing any more, and leave the optimiser."""
        self.let_go()
        self._before_step.remove()

    def _take_gradients(self, *_: Any) -> None:
        for weight in self._held:
            weight.grad = None


def _norms(modules: Iterable[nn.Module]) -> list[nn.Module]:
    return [module for module in modules if isinstance(module, _NormBase) and module.track_running_stats]
