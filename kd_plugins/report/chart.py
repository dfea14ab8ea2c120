"""The picture of a comparison: accuracy and losses over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kd_plugins.report.comparison import Row
from kd_plugins.report.run_log import TEACHER_PREFIX, RunLog, read_run_log


def draw_chart(rows: Sequence[Row], path: str | Path, title: str) -> None:
    """Draw the validation accuracy of every run, and every loss of the last one.

    Args:
        rows: The runs; the last one is the distillation.
        path: PNG file to write.
        title: Heading of the picture.
    """
    figure = Figure(figsize=(12, 4.8), layout='constrained')
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    accuracy, losses = figure.subplots(1, 2)
    for row in rows:
        _draw_accuracy(accuracy, row, read_run_log(row.work_dir))
    accuracy.set(xlabel='share of its training', ylabel='top-1 on val, %', title='Accuracy')
    accuracy.xaxis.set_major_formatter('{x:.0%}')
    _zoom(accuracy)
    for name, curve in read_run_log(rows[-1].work_dir).losses.items():
        losses.plot(*zip(*curve, strict=True), label=name, linewidth=2 if name == 'loss' else 1.2)
    losses.set(xlabel='iteration', ylabel='loss', yscale='log', title=f'Losses: {rows[-1].name}')
    for axes in (accuracy, losses):
        axes.grid(alpha=0.3)
        axes.legend(fontsize='small', loc='lower right' if axes is accuracy else 'upper right')
    figure.savefig(path, dpi=120)


def _draw_accuracy(axes: Axes, row: Row, log: RunLog) -> None:
    for name, curve in log.metrics.items():
        if name.startswith(TEACHER_PREFIX) or 'top1' not in name:
            continue
        share = [(index + 1) / len(curve) for index in range(len(curve))]
        axes.plot(share, [value for _, value in curve], marker='.', label=row.name)


def _zoom(axes: Axes) -> None:
    """Show the upper part of the curves, where they differ."""
    values = sorted(float(value) for line in axes.get_lines() for value in np.asarray(line.get_ydata()))
    if values:
        low = values[len(values) // 3]
        axes.set_ylim(max(0, low - 3), 100.3)
