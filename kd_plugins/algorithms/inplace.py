"""Activations that overwrite their input, and records that mind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from kd_plugins.randomness import own_randomness
from kd_plugins.recorders import ModuleOutputs, RecorderSet
from kd_plugins.teacher.fast_forward import Run, first_of


def forbid_inplace(model: nn.Module) -> list[nn.Module]:
    """Make every module with an ``inplace`` switch keep its input; returns those that did not."""
    found = [module for module in model.modules() if getattr(module, 'inplace', False) is True]
    set_inplace(found, False)
    return found


def set_inplace(modules: Iterable[nn.Module], inplace: bool) -> None:
    """Set the ``inplace`` switch of modules."""
    for module in modules:
        module.inplace = inplace  # type: ignore[assignment]


def allow_inplace(
    model: nn.Module,
    activations: Iterable[nn.Module],
    recorders: RecorderSet,
    inputs: Any,
    data_samples: Any,
    run: Run | None = None,
) -> None:
    """Let activations overwrite their input again, unless that changes a record.

    The model is run on two images in eval mode to see that. Recorders of inputs, methods and functions are not trusted
    to see it: with one of those, all activations keep their input.

    Args:
        model: The student; each of its modules is left in the mode it is in.
        activations: Those that its author has made to work in place.
        recorders: Attached to it.
        inputs: A batch.
        data_samples: Its annotations.
        run: Runs the model; by default, in mode ``'loss'`` of mmengine.
    """
    run = run or partial(model, mode='loss')
    # in eval mode, Dropout overwrites nothing
    trusted = [module for module in activations if not isinstance(module, _DropoutNd)]
    if not trusted or any(type(part) is not ModuleOutputs for part in recorders.parts()):
        return
    few, samples = first_of(inputs, data_samples)
    set_inplace(trusted, True)
    if _changes_a_record(recorders, partial(run, few, samples), model):
        set_inplace(trusted, False)


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Put a model in eval mode for a while; afterwards each module is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        # not train(): somebody may have frozen a part
        for module, training in modes:
            module.training = training


def _changes_a_record(recorders: RecorderSet, run: Callable[[], Any], model: nn.Module) -> bool:
    try:
        with (
            torch.no_grad(),
            own_randomness(gpu=True),
            in_eval_mode(model),
            recorders,
            recorders.guarding() as is_overwritten,
        ):
            run()
        return is_overwritten()
    except Exception:  # a head may want what training alone gives it
        return True
    finally:
        for part in recorders.parts():
            part.pop()
