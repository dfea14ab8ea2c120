"""The table of what the tests of faults/ found, printed after them: a row a file."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

FOLDER = 'tests/faults/'
COLUMNS = ('fault', 'cases', 'survived', 'lost', 'not run', 'seconds')


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        '--hours', type=float, default=0, help='go on killing trainings at random moments for that long (tests/faults)'
    )


def pytest_terminal_summary(terminalreporter: Any) -> None:
    rows = fault_rows([report for reports in terminalreporter.stats.values() for report in reports])
    if rows:
        terminalreporter.write_sep('=', 'faults')
        for line in markdown([*rows, ('all', *map(sum, zip(*(row[1:] for row in rows), strict=True)))]):
            terminalreporter.write_line(line)


def fault_rows(reports: list[Any]) -> list[tuple[Any, ...]]:
    """Cases by file; a test that says nothing of its number is one case."""
    counted: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0, 0, 0.0])
    for report in reports:
        if not getattr(report, 'nodeid', '').startswith(FOLDER) or not isinstance(report, pytest.TestReport):
            continue
        row = counted[Path(report.nodeid.split('::')[0]).stem.removeprefix('test_').replace('_', ' ')]
        row[4] += report.duration
        cases = int(dict(report.user_properties).get('cases', 1))
        if report.when == 'call' or (report.when == 'setup' and not report.passed):
            row[0] += cases
            row[1 if report.passed else 3 if report.skipped else 2] += cases
    return [(name, *map(int, row[:4]), round(row[4])) for name, row in sorted(counted.items())]


def markdown(rows: list[tuple[Any, ...]]) -> list[str]:
    line = '| {} | {} | {} | {} | {} | {} |'
    return [line.format(*COLUMNS), '| --- | ---: | ---: | ---: | ---: | ---: |', *(line.format(*row) for row in rows)]
