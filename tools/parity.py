"""Measure how far every component is from mmrazor 1.0.0, on the same weights and inputs.

``python tools/parity.py`` prints the table, ``--out docs/mmrazor_parity.md`` writes it into the documentation.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from kd_plugins.arguments import require_writable
from kd_plugins.engine.command_line import ArgumentParser, command

if TYPE_CHECKING:
    from kd_plugins.compat.parity.table import Row

HEADER = """# Parity with MMRazor

Written by `python tools/parity.py --out docs/mmrazor_parity.md`: the same weights and inputs in a component of ours and
in mmrazor 1.0.0's, several shapes and options each. The numbers are the worst distance of values and gradients,
relative to the length of the oracle's. Where mmrazor's class cannot run, or is wrong, the oracle is a slow loop of the
paper's formula; the notes below say why. `tests/parity` holds every case to 1e-6 in float64 and 1e-5 in float32.

"""


@command
def main(argv: list[str] | None = None) -> None:
    """Measure all cases and show the table."""
    parser = ArgumentParser(description='Measure the numeric parity with mmrazor 1.0.0')
    parser.add_argument('--out', type=Path, help='write the table there, as Markdown')
    arguments = parser.parse_args(argv)
    if arguments.out:
        require_writable('--out', arguments.out)
    # imports mmrazor, whose absence is one message as well
    from kd_plugins.compat.parity import CASES
    from kd_plugins.compat.parity.table import PRECISIONS, markdown, measure_all

    rows: list[Row] = []
    # torch and mmrazor announce changes of their own, and mmengine each initialisation
    warnings.simplefilter('ignore')
    logging.disable(logging.WARNING)
    with Console(stderr=True).status('measuring') as status:
        for row in measure_all(CASES):
            status.update(f'measured {row.component}')
            rows.append(row)
    if arguments.out is not None:
        arguments.out.write_text(f'{HEADER}{markdown(rows, CASES)}\n')
    Console(width=None if sys.stdout.isatty() else 100).print(_table(rows, PRECISIONS))


def _table(rows: Sequence[Row], precisions: Iterable[str]) -> Table:
    table = Table(title='Worst relative error', title_justify='left', header_style='bold')
    for heading in ('component', 'held against', 'cases', *precisions):
        table.add_column(heading, justify='left' if heading in ('component', 'held against') else 'right')
    for row in rows:
        table.add_row(row.component, row.oracle, str(row.cases), *(f'{row.worst[name]:.1e}' for name in precisions))
    return table


if __name__ == '__main__':
    sys.exit(main())
