"""The table of a comparison: a row a run, on a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.table import Table

from kd_plugins.report.tables import markdown

HEADINGS = ('model', 'images', 'epochs', 'parameters', 'top-1, %', 'seconds')


@dataclass(frozen=True)
class Row:
    """One trained model.

    Attributes:
        name: What it is.
        images: Labelled images that it was trained on.
        epochs: Passes over them.
        parameters: Of the model that would be deployed.
        accuracy: Top-1 on the test split, in percent.
        seconds: Training time, validation included.
        work_dir: Where its logs and checkpoints are.
    """

    name: str
    images: int
    epochs: int
    parameters: int
    accuracy: float
    seconds: float
    work_dir: Path

    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of :data:`HEADINGS`."""
        return (
            self.name,
            str(self.images),
            str(self.epochs),
            f'{self.parameters / 1e6:.2f} M',
            f'{self.accuracy:.2f}',
            f'{self.seconds:.0f}',
        )


def terminal_table(title: str, rows: Sequence[Row]) -> Table:
    """The comparison for rich to print."""
    table = Table(title=title)
    for index, heading in enumerate(HEADINGS):
        table.add_column(heading, justify='left' if index == 0 else 'right')
    for row in rows:
        table.add_row(*row.cells())
    return table


def markdown_table(rows: Sequence[Row]) -> str:
    """The comparison as a Markdown table."""
    return markdown(pd.DataFrame([row.cells() for row in rows], columns=list(HEADINGS)), ('model',))
