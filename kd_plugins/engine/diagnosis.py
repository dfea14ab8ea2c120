"""Where the first number of a step comes from that is not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from kd_plugins.algorithms.distill_algorithm import DistillAlgorithm
from kd_plugins.engine.kept_tensors import KeptTensors
from kd_plugins.errors import describe_error, join_path
from kd_plugins.randomness import own_randomness
from kd_plugins.recorders import Recorder
from kd_plugins.recorders.tensors import tensors_of


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        place: ``'inputs'``, ``'teacher'``, ``'student'``, ``'connector'`` or ``'loss'``; ``''`` where nothing was.
        text: The same in words.
        rows: Places in the batch of the samples that are concerned, where it is about some of them only.
    """

    place: str
    text: str
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Seen:
    place: str
    text: str
    data: Any


Tell = Callable[[_Seen], None]


def diagnose(model: nn.Module, batch: Any, context: Callable[[nn.Module], AbstractContextManager[Any]]) -> Diagnosis:
    """Run a batch once more and find the first of its numbers that is not finite.

    Looked at in the order in which they come: the preprocessed inputs, the records of teachers and student, the outputs
    of connectors, the arguments of the distill losses, the losses. Of a model that is no distillation: inputs and
    losses. Weights, buffers, gradients and random states are as before afterwards.

    Args:
        model: What is trained, without wrappers of several processes. Where there are several, each has to diagnose its
            own batch at the same time, as layers may exchange statistics.
        batch: As the data loader gave it.
        context: Of the forward: ``OptimWrapper.optim_context``.

    Returns:
        What was found; an error on the way is a finding too.
    """
    seen: list[_Seen] = []
    buffers = KeptTensors(lambda: dict(model.named_buffers()))
    buffers.keep()
    trouble = weight = ''
    try:
        weight = _first_bad_weight(model)
        with own_randomness(gpu=True), torch.no_grad(), context(model), _watching(model, seen.append):
            _run(model, batch, seen.append)
    except Exception as error:
        # what came before it may tell enough, and the losses are known anyway
        trouble = f'the batch could not be run again ({describe_error(error)})'
    finally:
        buffers.restore()
    also = f'; {weight} is not finite' if weight else ''
    for one in seen:
        bad = next((tensor for tensor in tensors_of(one.data) if not _is_finite(tensor)), None)
        if bad is not None:
            return Diagnosis(one.place, f'first not finite: {one.text}{also}', _rows(bad, one.data, _size(seen)))
    return Diagnosis('', (trouble or 'all was finite when the batch was run again') + also)


def _run(model: nn.Module, batch: Any, tell: Tell) -> None:
    data = model.data_preprocessor(batch, True)  # type: ignore[operator]
    inputs = data.get('inputs') if isinstance(data, Mapping) else data[0]
    tell(_Seen('inputs', 'the inputs, after the data_preprocessor', inputs))
    losses = model(**data, mode='loss') if isinstance(data, Mapping) else model(*data, mode='loss')
    for name, value in losses.items():
        tell(_Seen('loss', f'the loss {name}, of records that are finite', value))


@contextmanager
def _watching(model: nn.Module, tell: Tell) -> Iterator[None]:
    """Be told of what passes through the distillers of an algorithm."""
    with ExitStack() as watches:
        for comparison in model.comparisons() if isinstance(model, DistillAlgorithm) else ():
            distiller = comparison.distiller
            for side in ('teacher', 'student'):
                recorders = getattr(distiller, f'{side}_recorders')
                names = {part: name for name, recorder in recorders.recorders.items() for part in recorder.parts()}
                watches.enter_context(recorders.telling(partial(_tell_record, tell, side, names)))
            for name, connector in distiller.connectors.items():
                where = join_path(comparison.where, 'connectors', name)
                hook = partial(_tell_output, tell, 'connector', f'the output of the connector {where}')
                watches.callback(connector.register_forward_hook(hook).remove)
            for name, loss in distiller.distill_losses.items():
                before = partial(_tell_arguments, tell, join_path(comparison.prefix, name))
                watches.callback(loss.register_forward_pre_hook(before, with_kwargs=True).remove)
        yield


def _tell_record(tell: Tell, side: str, names: Mapping[Recorder, str], part: Recorder, record: Any) -> None:
    call = f'call {part.calls - 1} of ' if part.calls > 1 else ''
    text = f'the record of {call}{part.source!r} in the {side} (recorder {names[part]}, {type(part).__name__})'
    tell(_Seen(side, text, record))


def _tell_output(tell: Tell, place: str, text: str, module: nn.Module, inputs: Any, output: Any) -> None:
    tell(_Seen(place, text, output))


def _tell_arguments(tell: Tell, name: str, module: nn.Module, inputs: Any, arguments: dict[str, Any]) -> None:
    for argument, value in arguments.items():
        tell(_Seen('loss', f'the argument {argument} of the loss {name}, of records that are finite', value))


def _first_bad_weight(model: nn.Module) -> str:
    """Path of a weight that is not finite; buffers of what learns may be so by this step itself."""
    for where, teacher in (model.teacher_models() if isinstance(model, DistillAlgorithm) else {}).items():
        for name, tensor in teacher.state_dict().items():
            if not _is_finite(tensor):
                return f'weight {where}.{name}'
    return next((f'weight {name}' for name, weight in model.named_parameters() if not _is_finite(weight)), '')


def _is_finite(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _size(seen: list[_Seen]) -> int:
    inputs = seen[0].data
    return len(inputs) if isinstance(inputs, (torch.Tensor, list, tuple)) else 0


def _rows(bad: torch.Tensor, data: Any, size: int) -> tuple[int, ...]:
    """The samples whose part of a tensor, or of a list of one tensor a sample, is not finite; none where all are."""
    parts = data if isinstance(data, (list, tuple)) else bad
    if not isinstance(parts, (torch.Tensor, list, tuple)) or not getattr(parts, 'shape', (1,)) or len(parts) != size:
        return ()
    rows = tuple(row for row, part in enumerate(parts) if not all(map(_is_finite, tensors_of(part))))
    return rows if len(rows) < size else ()
