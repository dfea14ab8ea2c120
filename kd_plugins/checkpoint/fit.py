"""What of a checkpoint does not fit the model is said in full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kd_plugins.checkpoint.reading import read_weights
from kd_plugins.errors import Fault, UserError

NAMES_SHOWN = 4


def load_strictly(model: nn.Module, path: str | Path, where: str) -> None:
    """Load a checkpoint of exactly this model.

    Args:
        model: Where the weights go; unchanged in shape.
        path: As for :func:`~kd_plugins.checkpoint.read_checkpoint`.
        where: Key path or option that named the file.

    Raises:
        UserError: The file cannot be read, a weight is NaN, or a tensor is missing, left over or of another shape or
            kind; all are counted and the first few named.
    """
    weights = read_weights(path, where)
    misfit = describe_misfit(model, weights)
    if misfit:
        raise UserError(
            Fault(where, f'weights of this {type(model).__name__}', f'{path}, with {misfit}', 'is it another model?')
        )
    unknown = [name for name, tensor in weights.items() if tensor.is_floating_point() and bool(tensor.isnan().any())]
    if unknown:
        got = f'{path}, with NaN in {len(unknown)} of them ({_shorten(unknown)})'
        raise UserError(Fault(where, 'weights that are numbers', got, 'give a checkpoint of before it diverged'))


def describe_misfit(model: nn.Module, weights: Mapping[str, Any]) -> str:
    """Load weights as far as they fit and say what did not.

    Args:
        model: Where they go. Numbers with a fraction go where such are expected, whole ones where whole ones are.
        weights: Tensors by name.

    Returns:
        A phrase that counts the tensors of the model that fit, and counts and names those that are missing, left over,
        of another shape or of another kind; empty where all fitted.
    """
    mis_typed = dict(_mis_typed(model, weights))
    weights = {name: tensor for name, tensor in weights.items() if name not in mis_typed}
    mis_shaped: list[str] = []
    try:
        incompatible = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        mis_shaped = [line.strip().removesuffix('.') for line in str(error).splitlines() if 'size mismatch' in line]
        fitting = {
            name: tensor
            for name, tensor in weights.items()
            if not any(line.startswith(f'size mismatch for {name}:') for line in mis_shaped)
        }
        incompatible = model.load_state_dict(fitting, strict=False)
    unfit = {line.split('size mismatch for ')[1].split(':')[0] for line in mis_shaped} | set(mis_typed)
    missing = [name for name in incompatible.missing_keys if name not in unfit]
    parts = [
        (missing, 'tensors of the model missing'),
        (incompatible.unexpected_keys, 'tensors that the model does not have'),
        ([line.removeprefix('size mismatch for ') for line in mis_shaped], 'tensors of another shape'),
        ([f'{name}: {difference}' for name, difference in mis_typed.items()], 'tensors of another kind'),
    ]
    said = [f'{len(names)} {kind} ({_shorten(names)})' for names, kind in parts if names]
    own = model.state_dict()
    fit = sum(name in weights and name not in unfit for name in own)
    return '; '.join([f'{fit} of {len(own)} tensors that fit', *said]) if said else ''


def _mis_typed(model: nn.Module, weights: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names, and what is there for what: torch would drop imaginary parts and fractions without a word."""
    for name, own in model.state_dict().items():
        given = weights.get(name)
        if not isinstance(own, torch.Tensor) or given is None:
            continue
        if not isinstance(given, torch.Tensor):
            yield name, f'a {type(given).__name__} for a tensor'
        elif _kind(given) != _kind(own):
            yield name, f'{given.dtype} for {own.dtype}'


def _kind(tensor: torch.Tensor) -> tuple[bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex()


def _shorten(names: list[str]) -> str:
    return ', '.join(names[:NAMES_SHOWN]) + (', …' if len(names) > NAMES_SHOWN else '')
