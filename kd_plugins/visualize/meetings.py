"""The tensors that meet in the losses of a distillation, for one image."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kd_plugins.algorithms import OneStepDistill
from kd_plugins.distiller import LossSpec, RecordSpec
from kd_plugins.errors import Fault, UserError, describe_error
from kd_plugins.memory_format import to_contiguous
from kd_plugins.recorders import ModuleOutputGrads, RecorderSet
from kd_plugins.visualize.images import Prepared


@dataclass(frozen=True)
class Meeting:
    """What one loss compares for one image.

    Attributes:
        name: Of the loss, with the number of the element where whole tuples meet.
        student: After the connector, (C, H, W), (L, C) or (C).
        teacher: The same of the teacher.
    """

    name: str
    student: Tensor
    teacher: Tensor


@torch.no_grad()
def meetings_on(algorithm: OneStepDistill, image: Prepared) -> tuple[list[Meeting], dict[str, str], tuple[int, int]]:
    """Send an image through both models, and collect what their records are to the losses.

    Losses of the student are not computed, for the image has no annotations: what a loss alone would call is not
    recorded, nor are gradients.

    Args:
        algorithm: In eval mode.
        image: What both models are run on.

    Returns:
        What meets, in the order of the losses; by name, why there is nothing to see of the others; and height and width
        of the batch in pixels, padding included.

    Raises:
        UserError: The models cannot take the image, or a connector cannot take the record.
    """
    distiller, student = algorithm.distiller, algorithm.student
    with _refusing(image, 'the data_preprocessor'):
        data = algorithm.data_preprocessor(image.batch, False)
    # a layout of the student's own
    inputs, samples = algorithm.lay_out(data['inputs'], data['data_samples']), data['data_samples']
    teacher = getattr(algorithm, 'teacher', None)
    # a student that teaches itself has none
    model, theirs = (student, inputs) if teacher is None else (teacher, to_contiguous(inputs))
    records: dict[bool, dict[str, list[Any]]] = {}
    with _refusing(image, 'the teacher'):
        records[False] = _records_of(distiller.teacher_recorders, model, theirs, samples)
    with _refusing(image, 'the student'):
        records[True] = _records_of(distiller.student_recorders, student, inputs, samples)
    found: list[Meeting] = []
    unseen: dict[str, str] = {}
    for spec in distiller.spec.mappings:
        compared = [spec.arguments[side] for side in _sides(spec)]
        if any(record.recorder not in records[record.from_student] for record in compared):
            unseen[spec.name] = 'gradients are those of a loss, which an image without annotations has none of'
            continue
        try:
            pair = [_connected(distiller, record, records) for record in compared]
        except UserError as error:
            unseen[spec.name] = str(error.faults[0])
            continue
        tensors = list(_tensors(spec.name, *pair)) if len(pair) == 2 else []
        if not tensors:
            unseen[spec.name] = 'its records are no pair of tensors'
        for name, own, others in tensors:
            if len(own) == len(others) == 1:
                found.append(Meeting(name, own[0].float().cpu(), others[0].float().cpu()))
            else:
                # regions of a detector of two stages, windows of Swin
                unseen[name] = f'its records, {tuple(own.shape)} and {tuple(others.shape)}, are not one for the image'
    return found, unseen, tuple(inputs.shape[-2:])


@contextmanager
def _refusing(image: Prepared, taker: str) -> Iterator[None]:
    """Say of an image that it does not fit what runs inside."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # whatever a model of the user's raises at this image
        got = f'{image.name}, at which {taker} raises {describe_error(error, 200)}'
        advice = 'give one of the size and the channels of the training images'
        raise UserError(Fault('IMAGE', 'an image that both models take', got, advice)) from error


def _records_of(recorders: RecorderSet, model: Any, inputs: Any, samples: Any) -> dict[str, list[Any]]:
    """Run a model; its records by recorder, without those of gradients."""
    kept = copy.copy(recorders)
    kept.recorders = {
        name: part for name, part in recorders.recorders.items() if not isinstance(part, ModuleOutputGrads)
    }
    with kept:
        model(inputs, samples, mode='tensor')
    return kept.pop()


def _sides(spec: LossSpec) -> tuple[str, ...]:
    """The two arguments that are compared: those that are declared so, or the only one of each side."""
    if spec.pair is not None:
        return spec.pair
    sides = [[name for name, record in spec.arguments.items() if record.from_student is side] for side in (True, False)]
    return (sides[0][0], sides[1][0]) if all(len(names) == 1 for names in sides) else ()


def _connected(distiller: Any, record: RecordSpec, records: dict[bool, dict[str, list[Any]]]) -> Any:
    return distiller.connect(record, record.pick(records[record.from_student][record.recorder]))


def _tensors(name: str, student: Any, teacher: Any) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each pair of tensors with its name, in tuples as well."""
    if isinstance(student, Tensor) and isinstance(teacher, Tensor):
        if student.dim() > 1 and teacher.dim() > 1:
            yield name, student, teacher
    elif isinstance(student, (tuple, list)) and isinstance(teacher, (tuple, list)):
        for index, pair in enumerate(zip(student, teacher, strict=False)):
            yield from _tensors(f'{name}[{index}]', *pair)
