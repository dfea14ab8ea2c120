"""The picture of a measurement."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kd_plugins.benchmark.rounds import Spread

OURS, OTHERS = 'tab:blue', 'lightgray'
# in inches
WIDTH, BAR, MARGIN = 8.0, 0.45, 1.4


def draw_bars(spreads: Mapping[str, Spread], path: str | Path, title: str, label: str) -> None:
    """Draw a bar for each arm, as long as its median, with a line from its first quartile to its third.

    Args:
        spreads: By name; ours are those whose names begin with ``ours`` or ``cache``.
        path: PNG file to write.
        title: Heading of the picture.
        label: What the length of a bar is.
    """
    figure = Figure(figsize=(WIDTH, MARGIN + BAR * len(spreads)), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    names = list(spreads)[::-1]
    medians = [spreads[name].median for name in names]
    errors = [
        [spreads[name].median - spreads[name].low for name in names],
        [spreads[name].high - spreads[name].median for name in names],
    ]
    colours = [OURS if name.startswith(('ours', 'cache')) else OTHERS for name in names]
    bars = axes.barh(names, medians, xerr=errors, color=colours, edgecolor='black', linewidth=0.5, capsize=3)
    axes.bar_label(bars, labels=[f'{value:.2f}' for value in medians], padding=12, fontsize='small')
    axes.set(xlabel=label, title=title)
    axes.margins(x=0.15)
    axes.grid(axis='x', alpha=0.3)
    axes.set_axisbelow(True)
    figure.savefig(path, dpi=120)
