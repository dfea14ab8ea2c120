"""Which modules of a model can be recorded, and what each of them gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from kd_plugins.preflight.shapes import Shape, shape_of


@dataclass(frozen=True)
class ModuleRow:
    """What a module did in one forward.

    ``len(row)`` is the number of its calls.

    Attributes:
        name: As ``model.named_modules()`` gives it; ``''`` is the model itself.
        kind: Name of its class.
        outputs: Shape of the output of each call, in order.
        finished: For each call, how many calls of any module had ended before it did.
    """

    name: str
    kind: str
    outputs: tuple[Shape, ...] = ()
    finished: tuple[int, ...] = field(default=(), compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.outputs)


def list_modules(run: Callable[[], Any], model: nn.Module) -> list[ModuleRow]:
    """Run a forward and note what every module returns.

    Args:
        run: Runs ``model`` once; called without gradient.
        model: The model. No hook stays on it, also where ``run`` raises.

    Returns:
        A row per name, in the order of ``model.named_modules()``. A module that has several names is listed under each,
        with all its calls; one that never ran has no outputs.
    """
    # by id: a model may hold one module under several names
    calls: dict[int, list[tuple[Shape, int]]] = {id(module): [] for module in model.modules()}
    finished = 0

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal finished
        calls[id(module)].append((shape_of(output), finished))
        finished += 1

    handles = [module.register_forward_hook(note) for module in model.modules()]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    rows = []
    for name, module in model.named_modules(remove_duplicate=False):
        shapes = tuple(shape for shape, _ in calls[id(module)])
        rows.append(ModuleRow(name, type(module).__name__, shapes, tuple(order for _, order in calls[id(module)])))
    return rows


def select(rows: Iterable[ModuleRow], pattern: str | None) -> list[ModuleRow]:
    """The rows whose name fits a pattern.

    Args:
        rows: Of :func:`list_modules`.
        pattern: With ``*``, ``?`` and ``[…]`` as in file names, where ``*`` also matches dots; None for all rows.
    """
    return [row for row in rows if pattern is None or fnmatchcase(row.name, pattern)]
