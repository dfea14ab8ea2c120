"""A report on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kd_plugins.report.report import LEFT, Report

# a pipe has no width of its own, and 80 columns are too few for the tables
PIPE_WIDTH = 140


def print_report(report: Report, files: Sequence[Path]) -> None:
    """Print the tables, the sentences and the notes of a report, and where it was written.

    Args:
        report: What is printed.
        files: That were written.
    """
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    for frame in (report.models, report.gains):
        if len(frame):
            table = Table()
            for name in frame.columns:
                table.add_column(name, justify='left' if name in LEFT else 'right', overflow='fold')
            for row in frame.to_numpy().tolist():
                table.add_row(*map(escape, row))
            console.print(table)
    for line in (*report.sentences, *report.notes, *(f'written: {file}' for file in files)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
