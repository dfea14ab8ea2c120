"""The parts of a training step, each alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from kd_plugins.algorithms import OneStepDistill
from kd_plugins.benchmark.workload import Workload
from kd_plugins.distiller import ConfigurableDistiller, LossSpec, RecordSpec
from kd_plugins.recorders import map_tensors
from kd_plugins.recorders.tensors import tensors_of

Part = Callable[[], Any]
STEP = 'step'


def parts_of_step(workload: Workload) -> dict[str, Part]:
    """The parts of our training step as functions, in their order, and the whole step as ``'step'``.

    The teacher's is its forward as training runs it; the student's is forward and backward of its own loss; those of
    connectors and losses are forward and backward on what the models left in the recorders. What takes turns, as
    distillation without data, has the student and the step alone.

    Args:
        workload: What is run.
    """
    algorithm = workload.algorithm()
    wrapper = workload.optim_wrapper(algorithm)
    raw = workload.batch()
    data = _prepare(algorithm, raw)
    autocast = workload.setting.autocast
    parts: dict[str, Part] = {'data': lambda: _prepare(algorithm, raw)}
    one_step = isinstance(algorithm, OneStepDistill)
    if one_step and algorithm.teacher_forwards():
        parts['teacher'] = lambda: _run_teachers(algorithm, data, autocast)
    parts['student'] = lambda: _train_student(algorithm, data, autocast)
    if one_step and isinstance(algorithm.distiller, ConfigurableDistiller):
        parts |= _parts_of_distiller(algorithm, data, autocast)
    if one_step:
        parts['optimiser'] = lambda: wrapper.optimizer.step()
        # an optimiser without gradients would have nothing to do
        algorithm.train_step(raw, wrapper)
        for weight in algorithm.parameters():
            weight.grad = torch.zeros_like(weight)
    whole = workload.algorithm()
    whole_wrapper, whole_raw = workload.optim_wrapper(whole), workload.batch()
    return {**parts, STEP: lambda: whole.train_step(whole_raw, whole_wrapper)}


def _prepare(algorithm: Any, raw: dict[str, Any]) -> dict[str, Any]:
    """The batch as the models get it."""
    data = algorithm.data_preprocessor(raw, True)
    return {**data, 'inputs': algorithm.lay_out(data['inputs'], data['data_samples'])}


def _run_teachers(algorithm: Any, data: Mapping[str, Any], autocast: Callable[[], Any]) -> None:
    with autocast():
        for forward in algorithm.teacher_forwards():
            forward.run(data['inputs'], data['data_samples'])
    algorithm.distiller.teacher_recorders.pop()


def _train_student(algorithm: Any, data: Mapping[str, Any], autocast: Callable[[], Any]) -> None:
    with autocast():
        total, _ = algorithm.parse_losses(algorithm.student(**data, mode='loss'))
    if total.requires_grad:
        _differentiate(total, algorithm.student)


def _differentiate(output: torch.Tensor, module: nn.Module, *more: torch.Tensor) -> None:
    """Backward without leaving gradients behind."""
    inputs = [*(weight for weight in module.parameters() if weight.requires_grad), *more]
    if inputs:
        torch.autograd.grad(output, inputs, allow_unused=True)


def _parts_of_distiller(algorithm: Any, data: Mapping[str, Any], autocast: Callable[[], Any]) -> dict[str, Part]:
    """Connectors, then each loss by its name."""
    distiller = algorithm.distiller
    with autocast():
        for forward in algorithm.teacher_forwards():
            forward.run(data['inputs'], data['data_samples'])
        algorithm.run_student(data['inputs'], data['data_samples'])
    records = distiller.pop_records()
    picked = {
        (mapping.name, argument): (record, _cut(record.pick(records[record.from_student][record.recorder]), record))
        for mapping in distiller.spec.mappings
        for argument, record in mapping.arguments.items()
    }
    with torch.no_grad(), autocast():
        connected = {key: _cut(distiller.connect(record, value), record) for key, (record, value) in picked.items()}
    parts: dict[str, Part] = {}
    through = [pair for pair in picked.values() if pair[0].connector]
    if through:
        parts['connectors'] = lambda: _train_connectors(distiller, through, autocast)
    for mapping in distiller.spec.mappings:
        arguments = {argument: connected[mapping.name, argument] for argument in mapping.arguments}
        parts[mapping.name] = _loss_part(distiller, mapping, arguments, autocast)
    return parts


def _cut(value: Any, record: RecordSpec) -> Any:
    """A record off its graph; what comes from the student wants a gradient."""
    return map_tensors(
        value, lambda tensor: tensor.detach().requires_grad_(record.from_student and tensor.is_floating_point())
    )


def _train_connectors(distiller: Any, through: list[tuple[RecordSpec, Any]], autocast: Callable[[], Any]) -> None:
    with autocast():
        outputs = [tensor for record, value in through for tensor in tensors_of(distiller.connect(record, value))]
    outputs = [output for output in outputs if output.requires_grad]
    inputs = [tensor for record, value in through for tensor in tensors_of(value) if tensor.requires_grad]
    inputs += [weight for weight in distiller.connectors.parameters() if weight.requires_grad]
    if outputs:
        torch.autograd.grad(outputs, inputs, [torch.ones_like(output) for output in outputs], allow_unused=True)


def _loss_part(distiller: Any, mapping: LossSpec, arguments: dict[str, Any], autocast: Callable[[], Any]) -> Part:
    loss = distiller.distill_losses[mapping.name]
    inputs = [tensor for value in arguments.values() for tensor in tensors_of(value) if tensor.requires_grad]

    def run() -> None:
        with autocast():
            value = loss(**arguments)
        if value.requires_grad:
            _differentiate(value.sum(), loss, *inputs)

    return run
