"""Cases of the recorders and deliveries: what both packages tap from the same forward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from kd_plugins.build import Declared
from kd_plugins.compat.parity.case import Difference, worst
from kd_plugins.deliveries import DeliverySet
from kd_plugins.recorders import RecorderSet

HERE = __name__


def scale(x: torch.Tensor, factor: float = 2.0, *, shift: float = 0.0) -> torch.Tensor:
    """What is recorded as a function."""
    return x * factor + shift


def drop(x: torch.Tensor) -> torch.Tensor:
    """What is delivered as a function: random."""
    return nn.functional.dropout(x)


class Merge:
    """What is recorded and delivered as a method."""

    def merge(self, x: torch.Tensor, y: torch.Tensor, weight: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
        """Random, so that it shows what was delivered."""
        return x + weight * y, x * torch.rand_like(y)


class Inherited(Merge):
    """Its method is another's."""


class Pair(nn.Module):
    """Takes and returns two tensors."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Their product and their difference."""
        return x * y, [x - y]


class Model(nn.Module):
    """Has a relu that is called twice, a module of two tensors, and calls the functions and methods above."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.pair = Pair()
        self.fc = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, 5)."""
        x = self.relu(self.conv(x))
        x = scale(scale(drop(x), 3.0), shift=0.5)
        product, (difference,) = self.pair(x, self.relu(x - 1))
        merged, random = Merge().merge(product, difference)
        merged, _ = Inherited().merge(merged, weight=0.5, y=random)
        return self.fc(merged.mean((2, 3)))


@dataclass(frozen=True)
class RecorderCase:
    """A recorder of both packages, and what it taps.

    Attributes:
        component: Name in a config, the same in both packages.
        source: What is tapped.
        oracle: None, which is to say mmrazor.
        why: Why ours differs.
        differs: Whether our records are others than mmrazor's on purpose.
    """

    component: str
    source: str
    oracle: None = None
    why: str = ''
    differs: bool = False

    def __str__(self) -> str:
        return f'{self.component} of {self.source.removeprefix(f"{HERE}.") or "the model"}'

    def measure(self, dtype: torch.dtype) -> Difference:
        """Record the same forward with both; the gradient is that of a fixed random sum of the records.

        Args:
            dtype: Precision of weights and inputs.

        Raises:
            ValueError: One records another number of calls, elements or gradients than the other.
        """
        from mmrazor.models.task_modules import RecorderManager

        config = dict(type=self.component, source=self.source)
        ours, theirs = RecorderSet({'it': Declared(config, 'it')}), RecorderManager({'it': config})
        results = []
        for recorders, attach, records in (
            (ours, ours.attach, lambda: ours.pop()['it']),
            (theirs, theirs.initialize, lambda: theirs.get_recorder('it').data_buffer),
        ):
            model, images = _model_and_images(dtype)
            attach(model)
            with recorders:
                model(images)
            results.append(_values_and_gradients(records(), [images, *model.parameters()]))
        return _difference(*results)


@dataclass(frozen=True)
class DeliveryCase:
    """A delivery of both packages, and what it carries from one forward into another.

    Attributes:
        component: Registered name; without ``Delivery`` at its end in ``distill_deliveries``.
        key: Name of the argument that has the path.
        path: What is delivered.
        oracle: None, which is to say mmrazor.
        why: Why ours differs.
        differs: Whether what ours delivers is something else on purpose.
    """

    component: str
    key: str
    path: str
    oracle: None = None
    why: str = ''
    differs: bool = False

    def __str__(self) -> str:
        return f'{self.component} of {self.path.removeprefix(f"{HERE}.")}'

    def measure(self, dtype: torch.dtype) -> Difference:
        """Run a teacher, then a student, with both; values and gradients are those of both models' outputs.

        Args:
            dtype: Precision of weights and inputs.
        """
        from mmrazor.models.task_modules import DistillDeliveryManager

        config = {'type': self.component.removesuffix('Delivery'), 'max_keep_data': 1, self.key: self.path}
        ours, theirs = DeliverySet({'it': Declared(config, 'it')}), DistillDeliveryManager({'it': config})
        return _difference(*(_deliver(deliveries, dtype) for deliveries in (ours, theirs)))


def _deliver(deliveries: Any, dtype: torch.dtype) -> Any:
    outputs, leaves = [], []
    for override in (False, True):
        model, images = _model_and_images(dtype, seed=int(override))
        deliveries.override_data = override
        with deliveries:
            outputs.append(model(images))
        leaves += [images, *model.parameters()]
    return _values_and_gradients(outputs, leaves)


def _model_and_images(dtype: torch.dtype, seed: int = 0) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(seed)
    return Model().to(dtype), torch.randn(2, 3, 5, 4).to(dtype).requires_grad_()


def _values_and_gradients(records: Any, leaves: list[torch.Tensor]) -> tuple[list[Any], list[Any]]:
    values = list(_flat(records))
    if not values:
        raise ValueError('expected records, got none')
    torch.manual_seed(2)
    total = torch.stack([(value * torch.randn(value.shape, dtype=value.dtype)).sum() for value in values]).sum()
    gradients = torch.autograd.grad(total, leaves, allow_unused=True)
    return [value.detach() for value in values], list(gradients)


def _flat(record: Any) -> Iterator[torch.Tensor]:
    """Tensors and numbers of a record, the latter as tensors."""
    if isinstance(record, (tuple, list)):
        for part in record:
            yield from _flat(part)
    else:
        yield record if isinstance(record, torch.Tensor) else torch.tensor(float(record))


def _difference(ours: tuple[list[Any], list[Any]], theirs: tuple[list[Any], list[Any]]) -> Difference:
    return Difference(*(worst(_numbered(mine), _numbered(oracle)) for mine, oracle in zip(ours, theirs, strict=True)))


def _numbered(tensors: list[Any]) -> dict[str, torch.Tensor]:
    """Those that are there, by their position."""
    return {str(index): tensor for index, tensor in enumerate(tensors) if tensor is not None}


RECORDER_CASES: list[RecorderCase | DeliveryCase] = [
    *(RecorderCase('ModuleOutputs', source) for source in ('conv', 'relu', 'pair', 'fc', '')),
    *(RecorderCase('ModuleInputs', source) for source in ('conv', 'relu', 'pair', 'fc', '')),
    *(
        RecorderCase(component, source)
        for component in ('FunctionOutputs', 'FunctionInputs')
        for source in (f'{HERE}.scale', f'{HERE}.drop', 'torch.nn.functional.relu')
    ),
    *(
        RecorderCase(component, source)
        for component in ('MethodOutputs', 'MethodInputs')
        for source in (f'{HERE}.Merge.merge', 'torch.nn.Linear.forward')
    ),
    *(RecorderCase('Parameter', source) for source in ('conv.weight', 'fc.bias')),
    DeliveryCase('FunctionOutputsDelivery', 'func_path', f'{HERE}.drop'),
    DeliveryCase('MethodOutputsDelivery', 'method_path', f'{HERE}.Inherited.merge'),
]
