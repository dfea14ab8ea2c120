"""A teacher that only gives: it never learns, never changes and never travels with the student."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class FrozenTeacher:
    """Holds a model outside the module tree of the algorithm.

    Not being a submodule keeps it out of everything that walks the tree: the optimiser, checkpoints,
    DistributedDataParallel, ``train()`` and weight initialisation. It is in eval mode as a whole (Dropout and DropPath
    too, not BatchNorm alone), and copies of the algorithm, such as EMA's, share it.

    Args:
        model: The teacher; put in eval mode and out of gradient here.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model without gradient."""
        return self.model(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTeacher:
        return self
