"""Records as heat maps over the image: a row for each loss, with the image, student, teacher and their difference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from kd_plugins.visualize.images import Prepared
from kd_plugins.visualize.meetings import Meeting

COLUMNS = ('image', 'student', 'teacher', 'difference')
SIDE = 3.2  # inches


def draw_grid(image: Prepared, meetings: Sequence[Meeting], size: tuple[int, int], path: str | Path) -> None:
    """Draw what meets in each loss.

    A map shows the mean over channels of the absolute values, (C, H, W) -> (H, W), from 0 to the largest; the
    difference is that of the tensors, or, where their channels differ, that of the two maps, each over its largest
    value. Vectors are drawn as bars.

    Args:
        image: The image.
        meetings: What is drawn, one a row.
        size: Height and width of the batch in pixels, padding included.
        path: PNG file to write.
    """
    height, width = image.pixels.shape[:2]
    figure = Figure(
        figsize=(SIDE * len(COLUMNS) + 1, max(SIDE * height / width, 1.6) * len(meetings) + 0.8), layout='constrained'
    )
    FigureCanvasAgg(figure)
    figure.suptitle(image.name)
    rows = figure.subplots(len(meetings), len(COLUMNS), squeeze=False)
    for axes, meeting in zip(rows, meetings, strict=True):
        student, teacher = as_map(meeting.student), as_map(meeting.teacher)
        axes[0].imshow(image.pixels)
        axes[0].set(xticks=[], yticks=[])
        if student is None or teacher is None:
            _draw_bars(axes[1:], meeting)
        else:
            _draw_maps(axes[1:], image, student, teacher, size)
        axes[0].set_ylabel(meeting.name, fontsize='small')
    for axes, name in zip(rows[0], COLUMNS, strict=True):
        axes.set_title(f'{name}\n{axes.get_title()}', fontsize='small')
    figure.savefig(path, dpi=110)


def as_map(record: Tensor) -> Tensor | None:
    """A record laid out in space, (C, H, W); None where it has no places.

    Args:
        record: (C, H, W), or tokens (L, C), with a class token before a square of others or without.
    """
    if record.dim() == 3:
        return record if record.shape[1] * record.shape[2] > 1 else None
    if record.dim() != 2:
        return None
    for first in (0, 1):
        side = round((len(record) - first) ** 0.5)
        if side > 1 and side**2 == len(record) - first:
            return record[first:].T.unflatten(1, (side, side))
    return None


def difference_of(student: Tensor, teacher: Tensor) -> Tensor:
    """Where two maps differ, (C, H, W) and (C', H', W') -> (H, W) of the student.

    Args:
        student: After the connector.
        teacher: It is resized where its height and width are others.
    """
    if teacher.shape[1:] != student.shape[1:]:
        teacher = F.interpolate(teacher[None], student.shape[1:], mode='bilinear', align_corners=False)[0]
    if len(student) == len(teacher):
        return (student - teacher).abs().mean(0)
    own, theirs = (_strength(record) for record in (student, teacher))
    return (own / own.max().clamp(min=1e-12) - theirs / theirs.max().clamp(min=1e-12)).abs()


def _strength(record: Tensor) -> Tensor:
    return record.abs().mean(0)


def _draw_maps(axes: np.ndarray, image: Prepared, student: Tensor, teacher: Tensor, size: tuple[int, int]) -> None:
    height, width = image.pixels.shape[:2]
    maps = (_strength(student), _strength(teacher), difference_of(student, teacher))
    for place, heat, record in zip(axes, maps, (student, teacher, maps[2]), strict=True):
        place.imshow(image.pixels, extent=(0, width, height, 0))
        extent = (0, size[1], size[0], 0)
        strongest = max(float(heat.max()), 1e-12)
        drawn = place.imshow(heat, extent=extent, cmap='inferno', alpha=0.65, vmin=0, vmax=strongest)
        place.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
        place.set_title(_shape(record), fontsize='x-small')
        place.figure.colorbar(drawn, ax=place, shrink=0.8).ax.tick_params(labelsize='x-small')


def _draw_bars(axes: np.ndarray, meeting: Meeting) -> None:
    student, teacher = meeting.student.flatten(), meeting.teacher.flatten()
    vectors = [student, teacher] + ([student - teacher] if student.shape == teacher.shape else [])
    for place, vector in zip(axes, vectors, strict=False):
        place.bar(range(len(vector)), vector.numpy())
        place.set_title(_shape(vector), fontsize='x-small')
        place.tick_params(labelsize='x-small')
        place.axhline(0, color='black', linewidth=0.6)
    for place in axes[len(vectors) :]:
        place.set_axis_off()


def _shape(record: Tensor) -> str:
    return ' x '.join(map(str, record.shape))
