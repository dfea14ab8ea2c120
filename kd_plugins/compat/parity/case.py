"""One comparison of a component of ours with mmrazor's, or with a slow loop from its paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from mmengine.registry import MODELS
from torch import nn

# lengths below this share of the largest count as that
FLOOR = 0.01
# a maker of inputs takes a dtype and returns the positional arguments of forward; torch is seeded when it is called
MakeInputs = Callable[[torch.dtype], tuple[Any, ...]]


@dataclass(frozen=True)
class Difference:
    """How far two computations are apart, relative to the length of the oracle's."""

    value: float
    gradient: float


class Comparable(Protocol):
    """What the table and the tests need of a case.

    Attributes:
        component: Registered name, the same in ``kd_plugins`` and ``mmrazor``.
        oracle: A slow loop from the paper where mmrazor is not what is compared with.
        why: Why there is an oracle, or why ours differs.
        differs: Whether our numbers are others than mmrazor's on purpose.
    """

    component: str
    oracle: Callable[..., Any] | None
    why: str
    differs: bool

    def measure(self, dtype: torch.dtype) -> Difference:
        """How far ours is from the oracle, in a precision."""


@dataclass(frozen=True)
class Case:
    """A component, how it is built, and what it is fed with.

    Attributes:
        component: Registered name, the same in ``kd_plugins`` and ``mmrazor``.
        inputs: Makes the positional arguments of ``forward``: tensors, tuples of tensors, anything else.
        options: Arguments of both constructors.
        label: What is special about this case, e.g. its shape.
        oracle: A slow loop from the paper, called with the inputs, where mmrazor's class cannot run.
        why: Why there is an oracle, or why ours differs.
        differs: Whether our numbers are others than mmrazor's on purpose.
        training: Whether both modules are in training mode.
        prepare: Called with each module once it is built.
        constant: Positions of inputs that take no gradient, as a frozen teacher's.
    """

    component: str
    inputs: MakeInputs
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str = ''
    oracle: Callable[..., Any] | None = None
    why: str = ''
    differs: bool = False
    training: bool = True
    prepare: Callable[[nn.Module], None] | None = None
    constant: tuple[int, ...] = ()

    def __str__(self) -> str:
        options = ', '.join(f'{name}={value}' for name, value in self.options.items())
        return ' '.join(filter(None, (self.component, options, self.label)))

    def measure(self, dtype: torch.dtype) -> Difference:
        """Run both components on the same weights and inputs.

        The worst gradient is that of the inputs and of the weights. Inputs that get no gradient in one of both
        computations must get none in the other.

        Args:
            dtype: Precision of weights and inputs.

        Raises:
            ValueError: Outputs, weights or gradients of one are missing in the other.
        """
        torch.manual_seed(0)
        inputs = self.inputs(dtype)
        ours = _build(f'kd_plugins.{self.component}', self, dtype)
        theirs = self.oracle if self.oracle else _build(f'mmrazor.{self.component}', self, dtype)
        if isinstance(theirs, nn.Module):
            ours.load_state_dict(theirs.state_dict())
        results = [_run(module, inputs, self.constant) for module in (ours, theirs)]
        values, gradients = zip(*results, strict=True)
        if self.oracle:
            # a function of the inputs knows no weights
            gradients = tuple({name: got for name, got in found.items() if name.isdigit()} for found in gradients)
        return Difference(worst(*values), worst(*gradients))


def _build(kind: str, case: Case, dtype: torch.dtype) -> nn.Module:
    module = MODELS.build(dict(type=kind, **case.options)).train(case.training)
    if case.prepare is not None:
        case.prepare(module)
    return module.to(dtype)


def _run(
    module: Callable[..., Any], inputs: tuple[Any, ...], constant: tuple[int, ...]
) -> tuple[dict[str, torch.Tensor], Any]:
    """Values and gradients by name; the gradient is that of a fixed random sum of the values."""
    torch.manual_seed(1)
    leaves: dict[str, torch.Tensor] = {}
    arguments = [_copy(value, str(index), leaves) for index, value in enumerate(inputs)]
    for index in constant:
        arguments[index] = leaves.pop(str(index)).detach()
    outputs = _tensors(module(*arguments))
    torch.manual_seed(2)
    total = sum((value * torch.randn(value.shape, dtype=value.dtype)).sum() for value in outputs.values())
    if isinstance(total, torch.Tensor) and total.requires_grad:
        total.backward()
    weights = dict(module.named_parameters()) if isinstance(module, nn.Module) else {}
    gradients = {name: leaf.grad for name, leaf in {**leaves, **weights}.items() if leaf.grad is not None}
    return {name: value.detach() for name, value in outputs.items()}, gradients


def _copy(value: Any, name: str, leaves: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        copy = value.detach().clone()
        if value.is_floating_point():
            leaves[name] = copy.requires_grad_()
        return copy
    if isinstance(value, (tuple, list)):
        return type(value)(_copy(part, f'{name}{index}', leaves) for index, part in enumerate(value))
    return value


def _tensors(value: Any, name: str = '0') -> dict[str, torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return {name: value}
    if isinstance(value, (tuple, list)):
        return {key: part for index, item in enumerate(value) for key, part in _tensors(item, f'{name}{index}').items()}
    raise ValueError(f'output: expected tensors, got a {type(value).__name__}')


def worst(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """The largest relative distance of tensors of one name.

    Raises:
        ValueError: One side has names or shapes that the other has not.
    """
    if ours.keys() != theirs.keys():
        raise ValueError(f'expected {sorted(theirs.keys() - ours)} too, got {sorted(ours.keys() - theirs)} instead')
    # a bias before a BatchNorm has a gradient of rounding errors alone
    floor = FLOOR * max((tensor.double().norm().item() for tensor in theirs.values()), default=0.0)
    return max((_distance(ours[name], theirs[name], floor) for name in theirs), default=0.0)


def _distance(ours: torch.Tensor, theirs: torch.Tensor, floor: float) -> float:
    if ours.shape != theirs.shape:
        raise ValueError(f'expected {tuple(theirs.shape)}, got {tuple(ours.shape)}')
    ours, theirs = ours.double(), theirs.double()
    apart, length = (ours - theirs).norm().item(), max(theirs.norm().item(), floor)
    relative = apart / length if length else apart
    # max would pass over a NaN
    return relative if math.isfinite(relative) else math.inf
