"""What one training step of an algorithm consists of: forwards, and a distiller that compares what they left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Forward:
    """One forward of a step, while recorders record it.

    Attributes:
        sides: Whose recorders record: ``'student'``, ``'teacher'``, or both.
        where: Key path of the model's config.
        model: What runs.
        run: Runs it on inputs and data samples; returns losses by name.
    """

    sides: tuple[str, ...]
    where: str
    model: nn.Module
    run: Callable[[torch.Tensor, Any], dict[str, torch.Tensor]]


@dataclass(frozen=True)
class Comparison:
    """Forwards in their order, and the distiller that compares what they recorded.

    Attributes:
        where: Key path of the distiller's config.
        prefix: Before the names of its losses.
        distiller: The distiller.
        forwards: What runs before it compares.
    """

    where: str
    prefix: str
    distiller: Any
    forwards: tuple[Forward, ...]
