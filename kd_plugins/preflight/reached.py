"""What of a teacher runs before each of its records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from kd_plugins.algorithms import DistillAlgorithm
from kd_plugins.checkpoint import own_tensors
from kd_plugins.distiller import ConfigurableDistiller
from kd_plugins.errors import Fault
from kd_plugins.recorders import ModuleInputs, ModuleOutputGrads, Parameter, Recorder, RecorderSet

# a tensor by the module that holds it, and its name there
Held = tuple[nn.Module, str]


@dataclass(frozen=True)
class Reached:
    """A record of a teacher that a loss uses, and the tensors that it may depend on.

    Attributes:
        fault: Makes a fault at the source out of what was expected, what was got and an advice.
        source: What is recorded.
        held: The tensors of the modules that had begun to run when it was recorded.
    """

    fault: Callable[[str, str, str], Fault]
    source: str
    held: tuple[Held, ...]


class ForwardOrder:
    """Notes which modules of a model have begun to run, and which of them had when something was recorded.

    A forward begins where the module that was called first is called again; the last one counts.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = dict(model.named_modules(remove_duplicate=False))
        self._watched = set(model.modules())
        self._begun: dict[nn.Module, None] = {}
        self._before: dict[nn.Module, int] = {}
        self._recorded: dict[Recorder, list[tuple[nn.Module, ...]]] = {}

    def begin(self, module: nn.Module, _: Any) -> None:
        """Forward pre-hook of all modules."""
        if torch.compiler.is_compiling() or module not in self._watched:
            return
        if module is next(iter(self._begun), None):
            self._begun.clear()
        self._before[module] = len(self._begun)
        self._begun[module] = None

    def record(self, part: Recorder, _: Any) -> None:
        """Called with each new record, see ``RecorderSet.telling``."""
        if torch.compiler.is_compiling():
            return
        # its own module works on what it records of it
        own = self._modules.get(part.source) if isinstance(part, ModuleInputs) else None
        calls = self._recorded.setdefault(part, [])
        if part.calls == 1:
            calls.clear()
        begun = tuple(self._begun)
        calls.append(begun if own is None else begun[: self._before.get(own, 0)])

    def held_before(self, part: Recorder, call: int) -> list[Held]:
        """The tensors that one call of what a recorder records may depend on."""
        if isinstance(part, Parameter):
            owner, _, name = part.source.rpartition('.')
            return [(self._modules[owner], name)]
        calls = self._recorded.get(part, [])
        begun = calls[call] if call < len(calls) else ()
        # a gradient depends on all that follows, too
        modules = tuple(self._begun) if isinstance(part, ModuleOutputGrads) else begun
        return [(module, name) for module in modules for name, _ in own_tensors(module)]


@contextmanager
def following_teachers(model: nn.Module) -> Iterator[Callable[[], list[Reached]]]:
    """Follow the forwards of an algorithm's teachers.

    Args:
        model: The model of a config; where it is no distillation, nothing is found.

    Yields:
        What gives the records of the teachers that losses use, after the forwards.
    """
    followed: list[tuple[str, ConfigurableDistiller, ForwardOrder]] = []
    with ExitStack() as stack:
        for comparison in model.comparisons() if isinstance(model, DistillAlgorithm) else ():
            for forward in comparison.forwards:
                # a student that is its own teacher learns
                if forward.sides == ('teacher',) and isinstance(comparison.distiller, ConfigurableDistiller):
                    order = ForwardOrder(forward.model)
                    stack.enter_context(comparison.distiller.teacher_recorders.telling(order.record))
                    stack.callback(register_module_forward_pre_hook(order.begin).remove)
                    followed.append((f'model.{comparison.where}', comparison.distiller, order))
        yield lambda: [found for entry in followed for found in _reached(*entry)]


def _reached(where: str, distiller: ConfigurableDistiller, order: ForwardOrder) -> Iterator[Reached]:
    recorders = distiller.teacher_recorders
    used = {
        (record.recorder, record.record_idx or 0): None
        for mapping in distiller.spec.mappings
        for record in mapping.arguments.values()
        if not record.from_student and record.recorder in recorders.recorders
    }
    for name, call in used:
        for part in recorders.recorders[name].parts():
            yield Reached(_at_source(recorders, name, where), part.source, tuple(order.held_before(part, call)))


def _at_source(recorders: RecorderSet, name: str, where: str) -> Callable[[str, str, str], Fault]:
    def fault(expected: str, got: str, advice: str) -> Fault:
        return recorders.declared[name].blame(Fault('source', expected, got, advice)).within(where)

    return fault
