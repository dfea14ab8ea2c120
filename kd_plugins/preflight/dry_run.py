"""One step on a small batch, with an eye on everything that a real one would stumble over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from kd_plugins.algorithms import Comparison, DistillAlgorithm, Forward
from kd_plugins.distiller import ConfigurableDistiller
from kd_plugins.errors import Fault, UserError, describe_error, join_path
from kd_plugins.preflight.cost import StepCounter
from kd_plugins.preflight.findings import Findings
from kd_plugins.preflight.predictions import prediction_warnings
from kd_plugins.preflight.shapes import shape_of
from kd_plugins.preflight.trace import Tracer


def dry_run(model: BaseModel, batch: Any, findings: Findings) -> dict[str, dict[str, Any]]:
    """Send a batch forward and backward through a model as the Runner would.

    Args:
        model: Of the config; as far as it could be built.
        batch: A collated batch, a dict or a list.
        findings: Grows by what is found; what the models stumble over goes to its ``stumbles``.

    Returns:
        The edits that make the config explicit, by key path of a distiller: value by key path below it, None for what
        is to be removed.
    """
    if isinstance(model, DistillAlgorithm) and model.student is None:
        return {}  # nothing says how the batch is to be prepared
    model.train()
    data = _attempt(
        findings.stumbles,
        'model.data_preprocessor',
        'a data_preprocessor that takes the data of the config',
        lambda: model.data_preprocessor(batch, True),
    )
    if data is None:
        return {}
    findings.batch = shape_of(_inputs_and_samples(data)[0])
    if isinstance(model, DistillAlgorithm):
        return _distill(model, data, findings)
    losses = run_located(model, 'model', lambda: model._run_forward(data, mode='loss'), findings)
    if losses is not None:
        _backward(model, losses, findings)
    return {}


def _distill(model: DistillAlgorithm, data: Any, findings: Findings) -> dict[str, dict[str, Any]]:
    inputs, samples = _inputs_and_samples(data)
    counter = StepCounter(model)
    losses: dict[str, Any] = {}
    edits: dict[str, dict[str, Any]] = {}
    whole = True
    for comparison in model.comparisons():
        ran: set[str] = set()
        for forward in comparison.forwards:
            run = partial(run_watched, comparison, forward, inputs, samples, findings)
            found = run_located(forward.model, f'model.{forward.where}', run, findings)
            if found is not None:
                # the first run has found out how the model is run from now on; the second is what a step costs
                run = partial(counter.forward, forward, comparison.distiller, inputs, samples)
                found = run_located(forward.model, f'model.{forward.where}', run, findings)
            if found is not None:
                ran.update(forward.sides)
                losses.update(found)
        whole = whole and ran == {'student', 'teacher'}
        where = f'model.{comparison.where}'
        enlarged = partial(enlarged_records, comparison, inputs, samples)
        distilled, edits[where] = _compare(comparison, findings, image_size(inputs), ran, counter, enlarged)
        losses.update({f'{comparison.prefix}.{name}': value for name, value in distilled.items()})
    if whole and losses and not findings.faults:
        backward = partial(_backward, model, findings=findings)
        if not _has_own_step(model):
            counter.backward(partial(backward, losses))
        elif not any(edits.values()):
            # what a user's class adds is only known by running it
            own = counter.whole(partial(run_located, model, 'model', partial(model.loss, inputs, samples), findings))
            if own is not None:
                counter.backward(partial(backward, own))
        findings.cost = counter.cost(len(inputs) if isinstance(inputs, (torch.Tensor, list, tuple)) else 1)
    return edits


def run_watched(
    comparison: Comparison, forward: Forward, inputs: Any, samples: Any, findings: Findings
) -> dict[str, Any]:
    """Run a forward, and warn of records that the model overwrites afterwards."""
    distiller = comparison.distiller
    if not isinstance(distiller, ConfigurableDistiller):
        return forward.run(inputs, samples)
    both = {'student': distiller.student_recorders, 'teacher': distiller.teacher_recorders}
    with ExitStack() as watches:
        watched = {side: watches.enter_context(both[side].watching()) for side in forward.sides}
        losses = forward.run(inputs, samples)
    overwritten = {side: calls() for side, calls in watched.items()}
    found = {
        (record.side, record.recorder): None
        for mapping in distiller.spec.mappings
        for record in mapping.arguments.values()
        if any(overwritten.get(record.side, {}).get(record.recorder, [])[record.record_idx or 0 :][:1])
    }
    for side, name in found:
        got = f'{both[side].recorders[name].source!r}, which is overwritten later, as by an in-place addition'
        advice = 'the record is what the model makes of it; choose another source if that is not meant'
        fault = both[side].declared[name].blame(Fault('source', 'a source whose output stays', got, advice))
        findings.warnings.append(fault.within(join_path('model', comparison.where)))
    return losses


def _inputs_and_samples(data: Any) -> tuple[Any, Any]:
    """The two of a batch, which is a dict or, where a data set returns tuples, a list."""
    if isinstance(data, Mapping):
        return data.get('inputs'), data.get('data_samples')
    return data[0], data[1] if len(data) > 1 else None


def enlarged_records(comparison: Comparison, inputs: Any, samples: Any) -> Any:
    """The records of the same images at twice their size; None where a model does not take them."""
    if image_size(inputs) is None:
        return None
    try:
        for forward in comparison.forwards:
            forward.run(F.interpolate(inputs, scale_factor=2), samples)
        return comparison.distiller.pop_records()
    except Exception:  # a model for one size may raise anything
        return None


def _compare(
    comparison: Comparison,
    findings: Findings,
    image: tuple[int, int] | None,
    ran: set[str],
    counter: StepCounter,
    enlarged: Callable[[], Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The losses of a distiller by name, and the edits of its config."""
    where = f'model.{comparison.where}'
    if isinstance(comparison.distiller, ConfigurableDistiller):
        tracer = Tracer(comparison.distiller, where, findings, image, ran, counter.comparing, enlarged)
        before = len(findings.losses)
        losses = tracer.run()
        findings.warnings += prediction_warnings(comparison, findings.losses[before:])
        return losses, tracer.connection.edits
    expected = 'a distiller that compares the records'
    with counter.comparing():
        return _attempt(findings.faults, where, expected, comparison.distiller.compute_distill_losses) or {}, {}


def _has_own_step(model: DistillAlgorithm) -> bool:
    """Whether a user's classes compute losses of their own."""
    steps = [(type(model), name) for name in ('loss', 'compare')]
    steps += [(type(comparison.distiller), 'compute_distill_losses') for comparison in model.comparisons()]
    functions = [getattr(kind, name, None) for kind, name in steps]
    return any(not getattr(function, '__module__', 'kd_plugins').startswith('kd_plugins') for function in functions)


def image_size(inputs: Any) -> tuple[int, int] | None:
    """Height and width of a batch of images; None for other inputs."""
    if not isinstance(inputs, torch.Tensor) or inputs.dim() != 4:
        return None
    return inputs.shape[2], inputs.shape[3]


def _attempt(faults: list[Fault], where: str, expected: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except UserError as error:
        faults += error.within('model').faults
    except Exception as error:
        faults.append(Fault(where, expected, describe_error(error), 'correct what it names'))
    return None


def run_located(model: nn.Module, where: str, run: Callable[[], Any], findings: Findings) -> Any:
    """Run a model; an exception becomes a stumble that names the module in which it happened.

    Args:
        model: The model.
        where: Key path of its config.
        run: Runs it.
        findings: Grows by the stumble.

    Returns:
        What ``run`` returns; None after a stumble.
    """
    names = {module: name for name, module in model.named_modules()}
    running: list[str] = []

    def enter(module: nn.Module, _: Any) -> None:
        if module in names:
            running.append(names[module])

    def leave(module: nn.Module, *_: Any) -> None:
        if module in names:
            running.pop()

    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        return run()
    except UserError as error:
        findings.stumbles += error.within('model').faults
    except Exception as error:
        place = running[-1] if running else ''
        advice = f'look at the arguments of {place or "the model"} and at what the data pipeline gives'
        where = join_path(where, place.partition('.')[0])
        got = f'{describe_error(error)}{f" in {place}" if place else ""}'
        findings.stumbles.append(Fault(where, 'a model that its own data can run through', got, advice))
    finally:
        for handle in handles:
            handle.remove()
    return None


def _backward(model: BaseModel, losses: Any, findings: Findings) -> None:
    expected = 'losses that something can learn from'
    parsed = _attempt(findings.faults, 'model', expected, lambda: model.parse_losses(losses))
    if parsed is None:
        return
    total = parsed[0]
    if not total.requires_grad:
        advice = 'set student_trainable=True, or give a loss a connector, which learns'
        findings.faults.append(Fault('model', 'something that learns', 'losses without gradient', advice))
        return
    before = len(findings.faults)
    _attempt(findings.faults, 'model', expected, total.backward)
    if len(findings.faults) == before:
        learning = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
        findings.without_gradient = [name for name, weight in learning if weight.grad is None]
