"""What a model's forward does with its tensors, found by watching one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kd_plugins.recorders import Recorder, RecorderSet

# what these compute is known; a subclass may compute something else
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORMS = (_BatchNorm, nn.SyncBatchNorm)


@dataclass(frozen=True)
class Call:
    """One call of a module.

    Attributes:
        source: Storage of its input.
        result: Storage of its output.
        begin: Number of operations that had run before it.
        end: Number of operations that had run after it.
    """

    source: int
    result: int
    begin: int
    end: int


@dataclass
class Trace:
    """What one forward did.

    Attributes:
        calls: Of each watched module, in their order.
        uses: Numbers of the operations that took a tensor of a storage.
        kept: Storages whose values somebody else has: records, inputs and outputs of the model, its weights.
        records: How many records each recorder had in the end.
        overwritten: Whether what was recorded first is overwritten later, by an in-place addition for instance.
        odd: Watched modules that were called with something else than one tensor.
    """

    calls: dict[nn.Module, list[Call]] = field(default_factory=dict)
    uses: dict[int, list[int]] = field(default_factory=dict)
    kept: set[int] = field(default_factory=set)
    records: dict[Recorder, int] = field(default_factory=dict)
    overwritten: bool = False
    odd: set[nn.Module] = field(default_factory=set)

    def folds(self) -> list[tuple[nn.Module, nn.Module]]:
        """Pairs of a convolution and a BatchNorm, of which nobody sees what is between them."""
        norms = {module: calls for module, calls in self.calls.items() if is_batch_norm(module)}
        takers = {call.source: module for module, calls in norms.items() for call in calls}
        found = []
        for module, calls in self.calls.items():
            norm = takers.get(calls[0].result) if is_convolution(module) else None
            if norm is None or len(calls) != len(norms[norm]) or self.odd & {module, norm}:
                continue
            if module._forward_hooks or norm._forward_pre_hooks:
                continue  # somebody else looks at what is between them
            inside = {call.source: call for call in norms[norm]}
            if all(call.result in inside and self._is_private(call.result, inside[call.result]) for call in calls):
                found.append((module, norm))
        return found

    def overwritable(self) -> list[nn.Module]:
        """Activations of which nobody needs the input any more, once they have run."""
        return [
            module
            for module, calls in self.calls.items()
            if is_activation(module) and module not in self.odd and all(self._is_last(call) for call in calls)
        ]

    def _is_private(self, storage: int, user: Call) -> bool:
        uses = self.uses.get(storage, ())
        return storage not in self.kept and all(user.begin < use <= user.end for use in uses)

    def _is_last(self, call: Call) -> bool:
        return call.source not in self.kept and all(use <= call.end for use in self.uses.get(call.source, ()))


def is_convolution(module: nn.Module) -> bool:
    """Whether a module computes a plain convolution of its weight."""
    return _computes(module, CONVOLUTIONS)


def is_batch_norm(module: nn.Module) -> bool:
    """Whether a module scales and shifts by what it holds, not by the statistics of its batch."""
    holds = not module.training and getattr(module, 'running_mean', None) is not None
    return holds and _computes(module, BATCH_NORMS)


def is_activation(module: nn.Module) -> bool:
    """Whether a module can overwrite its input."""
    return isinstance(getattr(module, 'inplace', None), bool) and not any(module.children())


def _computes(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    own = 'forward' in module.__dict__
    return not own and any(isinstance(module, kind) and type(module).forward is kind.forward for kind in kinds)


def trace(model: nn.Module, recorders: RecorderSet, run: Callable[[], Any], inputs: Any) -> Trace:
    """Watch a forward of a frozen model.

    Args:
        model: The model, in eval mode.
        recorders: Attached to it, and entered.
        run: Runs it on ``inputs``, without gradient.
        inputs: A small batch; tensors or a nest of them.

    Returns:
        What happened; the recorders still hold their records.
    """
    seen = Trace()
    with _Watch(seen) as watch:
        with watch.modules(model), recorders.guarding() as is_overwritten:
            outputs = run()
        seen.overwritten = is_overwritten()
        seen.records = {part: part.calls for part in recorders.parts()}
        records = [part.tensors() for part in recorders.parts()]
        held = [*model.parameters(), *model.buffers(), *tree_leaves((inputs, outputs, records))]
        seen.kept = {storage_of(tensor) for tensor in held if isinstance(tensor, torch.Tensor)}
    return seen


def storage_of(tensor: torch.Tensor) -> int:
    """What two tensors share that share memory, as long as both live."""
    return tensor.untyped_storage().data_ptr()


class _Watch(TorchDispatchMode):
    """Notes which operation takes which tensors, and keeps those tensors, so that no two share an address."""

    def __init__(self, seen: Trace) -> None:
        super().__init__()
        self.seen = seen
        self.operations = 0
        self._alive: list[torch.Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, torch.Tensor):
                self._alive.append(leaf)
                self.seen.uses.setdefault(storage_of(leaf), []).append(self.operations)
        outputs = func(*args, **(kwargs or {}))
        self._alive += [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, torch.Tensor)]
        return outputs

    @contextmanager
    def modules(self, model: nn.Module) -> Iterator[None]:
        """Note the calls of convolutions, BatchNorms and activations."""
        begun: list[int] = []

        def begin(module: nn.Module, inputs: Any) -> None:
            begun.append(self.operations)

        def end(module: nn.Module, inputs: Any, output: Any) -> None:
            first = begun.pop()
            if len(inputs) == 1 and isinstance(inputs[0], torch.Tensor) and isinstance(output, torch.Tensor):
                call = Call(storage_of(inputs[0]), storage_of(output), first, self.operations)
                self.seen.calls.setdefault(module, []).append(call)
            else:
                self.seen.odd.add(module)

        with ExitStack() as hooks:
            for module in model.modules():
                if is_convolution(module) or is_batch_norm(module) or is_activation(module):
                    for handle in (
                        # around every hook of the recorders
                        module.register_forward_pre_hook(begin, prepend=True),
                        module.register_forward_hook(end),
                    ):
                        hooks.callback(handle.remove)
            yield
