"""A teacher that only gives: it never learns, never changes and never travels with the student."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from kd_plugins.checkpoint import describe_misfit


class FrozenTeacher:
    """Holds a model outside the module tree of the algorithm.

    Not being a submodule keeps it out of everything that walks the tree: the optimiser, checkpoints,
    DistributedDataParallel, ``train()`` and weight initialisation. It is in eval mode as a whole (Dropout and DropPath
    too, not BatchNorm alone), and copies of the algorithm, such as EMA's, share it.

    Args:
        model: The teacher; put in eval mode and out of gradient here.
        trained: Whether it has trained weights.

    Attributes:
        trained: Whether it has trained weights by now.
    """

    def __init__(self, model: nn.Module, trained: bool = True) -> None:
        self.model = model.eval().requires_grad_(False)
        self.trained = trained

    @torch.no_grad()
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model without gradient."""
        return self.model(*args, **kwargs)

    def load(self, weights: Mapping[str, torch.Tensor]) -> str:
        """Take trained weights.

        Args:
            weights: All tensors of the model's ``state_dict``.

        Returns:
            What did not fit; empty where all did.
        """
        misfit = describe_misfit(self.model, weights)
        self.trained = not misfit
        return misfit

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTeacher:
        return self
