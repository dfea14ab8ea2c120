"""The pictures of a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kd_plugins.report.arms import MAIN, Arm, Comparison

COLOURS = {'helps': 'tab:green', 'hurts': 'tab:red'}
GREY = 'tab:gray'
# in inches; what is taller cannot be drawn
TALLEST = 200


def draw_report(arms: Sequence[Arm], comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """Draw what there is to see: gains with their intervals, accuracy over each number that is varied, losses.

    Args:
        arms: Of the experiment.
        comparisons: Of the arms.
        folder: Where the PNG files go.

    Returns:
        The files.
    """
    files = []
    if comparisons:
        files.append(_draw_gains(comparisons, folder / 'gain.png'))
    for key in _numbers(arms):
        name = ''.join(letter if letter.isalnum() else '_' for letter in key)
        files.append(_draw_scores(arms, key, folder / f'accuracy_{name}.png'))
    files.append(_draw_losses(arms, folder / 'losses.png'))
    return files


def _draw_gains(comparisons: Sequence[Comparison], path: Path) -> Path:
    figure, axes = _figure(9, min(1.4 + 0.45 * len(comparisons), TALLEST))
    for row, comparison in enumerate(reversed(comparisons)):
        gain = comparison.gain
        colour = COLOURS.get(gain.verdict, GREY)
        if gain.low is not None and gain.high is not None:
            axes.plot([gain.low, gain.high], [row, row], color=colour, linewidth=2.5, solid_capstyle='butt')
        axes.plot(gain.mean, row, 'o', color=colour)
    names = [f'{comparison.arm.name} {comparison.condition}' for comparison in reversed(comparisons)]
    axes.set_yticks(range(len(names)), names)
    axes.axvline(0, color='black', linewidth=0.8)
    metric = comparisons[0].arm.metric
    axes.set(title='Gain over the student alone', xlabel=f'points of {metric}, mean and 95 % interval')
    axes.margins(y=0.5 / len(comparisons))
    return _save(figure, axes, path)


def _draw_scores(arms: Sequence[Arm], key: str, path: Path) -> Path:
    figure, axes = _figure(7, 4.4)
    lines: dict[str, list[Arm]] = {}
    for arm in arms:
        if arm.kind == MAIN and _is_number(arm.options.get(key)):
            rest = ', '.join(f'{other}={value}' for other, value in arm.options.items() if other != key)
            lines.setdefault(rest or arm.name.partition(',')[0], []).append(arm)
    for name, found in lines.items():
        found = sorted(found, key=lambda arm: arm.options[key])
        values = [arm.options[key] for arm in found]
        axes.errorbar(values, [arm.mean for arm in found], [arm.deviation or 0 for arm in found], capsize=3, label=name)
    for arm, style in zip([arm for arm in arms if arm.kind != MAIN and not arm.options], ('--', ':'), strict=False):
        axes.axhline(arm.mean, color=GREY, linestyle=style, label=arm.name)
        if arm.deviation:
            axes.axhspan(arm.mean - arm.deviation, arm.mean + arm.deviation, color=GREY, alpha=0.12)
    metric = arms[0].metric
    axes.set(title=f'{metric} over {key}', xlabel=key, ylabel=f'{metric}, mean and standard deviation')
    axes.legend(fontsize='small')
    return _save(figure, axes, path)


def _draw_losses(arms: Sequence[Arm], path: Path) -> Path:
    figure, axes = _figure(7, 4.4)
    for arm in arms:
        curve = arm.first.curves['losses'].get('loss', [])
        if curve:
            axes.plot(*zip(*curve, strict=True), label=arm.name, linewidth=1.2)
    axes.set(title='Training loss, one seed an arm', xlabel='iteration', ylabel='sum of all losses', yscale='log')
    if axes.get_lines():
        axes.legend(fontsize='x-small')
    return _save(figure, axes, path)


def _numbers(arms: Sequence[Arm]) -> list[str]:
    """The keys of which several numbers were tried."""
    values: dict[str, set[float]] = {}
    for arm in arms:
        for key, value in arm.options.items():
            if arm.kind == MAIN and _is_number(value):
                values.setdefault(key, set()).add(value)
    return [key for key, found in values.items() if len(found) > 1]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _save(figure: Figure, axes: Axes, path: Path) -> Path:
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    figure.savefig(path, dpi=120)
    return path
