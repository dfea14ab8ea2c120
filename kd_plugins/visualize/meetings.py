"""The tensors that meet in the losses of a distillation, for one image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kd_plugins.algorithms import OneStepDistill
from kd_plugins.distiller import LossSpec, RecordSpec
from kd_plugins.errors import UserError


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
def meetings_on(algorithm: OneStepDistill, batch: Any) -> tuple[list[Meeting], dict[str, str], tuple[int, int]]:
    """Send an image through both models, and collect what their records are to the losses.

    Losses of the student are not computed, for the image has no annotations: what a loss alone would call is not
    recorded.

    Args:
        algorithm: In eval mode.
        batch: One image, as :class:`kd_plugins.visualize.Prepared` has it.

    Returns:
        What meets, in the order of the losses; by name, why there is nothing to see of the others; and height and width
        of the batch in pixels, padding included.

    Raises:
        UserError: A connector cannot take the record.
    """
    data = algorithm.data_preprocessor(batch, False)
    inputs, samples = algorithm.lay_out(data['inputs'], data['data_samples']), data['data_samples']
    distiller = algorithm.distiller
    # a student that teaches itself has none
    teacher = getattr(algorithm, 'teacher', None)
    teacher = algorithm.student if teacher is None else teacher
    for recorders, model in ((distiller.teacher_recorders, teacher), (distiller.student_recorders, algorithm.student)):
        with recorders:
            model(inputs, samples, mode='tensor')
    records = distiller.pop_records()
    found: list[Meeting] = []
    unseen: dict[str, str] = {}
    for spec in distiller.spec.mappings:
        try:
            pair = [_connected(distiller, spec.arguments[side], records) for side in _sides(spec)]
        except UserError as error:
            unseen[spec.name] = str(error.faults[0])
            continue
        pairs = list(_tensors(spec.name, *pair)) if len(pair) == 2 else []
        if not pairs:
            unseen[spec.name] = 'its records are no pair of tensors'
        found += pairs
    return found, unseen, tuple(inputs.shape[-2:])


def _sides(spec: LossSpec) -> tuple[str, ...]:
    """The two arguments that are compared: those that are declared so, or the only one of each side."""
    if spec.pair is not None:
        return spec.pair
    sides = [[name for name, record in spec.arguments.items() if record.from_student is side] for side in (True, False)]
    return (sides[0][0], sides[1][0]) if all(len(names) == 1 for names in sides) else ()


def _connected(distiller: Any, record: RecordSpec, records: dict[bool, dict[str, list[Any]]]) -> Any:
    return distiller.connect(record, record.pick(records[record.from_student][record.recorder]))


def _tensors(name: str, student: Any, teacher: Any) -> Iterator[Meeting]:
    """The only image of each pair of tensors, in tuples as well."""
    if isinstance(student, Tensor) and isinstance(teacher, Tensor):
        if student.dim() > 1 and teacher.dim() > 1:
            yield Meeting(name, student[0].float().cpu(), teacher[0].float().cpu())
    elif isinstance(student, (tuple, list)) and isinstance(teacher, (tuple, list)):
        for index, pair in enumerate(zip(student, teacher, strict=False)):
            yield from _tensors(f'{name}[{index}]', *pair)
