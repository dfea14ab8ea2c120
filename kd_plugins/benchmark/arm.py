"""One contestant of a measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

# how far the first loss of an arm may be from ours in float32, relative, for both to do the same work
AGREEMENT = 1e-4


class LeftOut(Exception):  # noqa: N818  not an error: the table says why
    """An arm cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Arm:
    """Something whose training step is measured.

    Attributes:
        name: What the table calls it.
        step: Takes one training step on the workload's batch, and returns its loss, a scalar without graph.
        same_work: Whether its loss is that of our step.
    """

    name: str
    step: Callable[[], torch.Tensor]
    same_work: bool = True
