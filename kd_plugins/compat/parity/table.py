"""The parity of every component in one table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import torch

from kd_plugins.compat.parity.case import Comparable

PRECISIONS = {'float64': torch.float64, 'float32': torch.float32}


@dataclass(frozen=True)
class Row:
    """One component, held against mmrazor or against a slow loop.

    Attributes:
        component: Its name.
        oracle: ``'mmrazor'`` or ``'paper'``.
        cases: How many were measured.
        worst: The worst relative error of values and gradients, by precision.
    """

    component: str
    oracle: str
    cases: int
    worst: dict[str, float]


def measure_all(cases: Iterable[Comparable]) -> Iterator[Row]:
    """Measure cases that have to agree, component by component."""
    agreeing = sorted((case for case in cases if not case.differs), key=_order)
    for (component, oracle), group in groupby(agreeing, _order):
        listed = list(group)
        worst = {}
        for name, dtype in PRECISIONS.items():
            found = [case.measure(dtype) for case in listed]
            worst[name] = max(max(difference.value, difference.gradient) for difference in found)
        yield Row(component, oracle, len(listed), worst)


def markdown(rows: Iterable[Row], cases: Iterable[Comparable]) -> str:
    """Rows as a table, and what differs on purpose."""
    lines = ['| component | held against | cases | float64 | float32 |', '| --- | --- | ---: | ---: | ---: |']
    for row in rows:
        errors = ' | '.join(f'{row.worst[name]:.1e}' for name in PRECISIONS)
        lines.append(f'| {row.component} | {row.oracle} | {row.cases} | {errors} |')
    notes = {(case.component, case.why): None for case in sorted(cases, key=attrgetter('component')) if case.why}
    lines += ['', *(f'- **{component}**: {why}' for component, why in notes)]
    return '\n'.join(lines)


def _order(case: Comparable) -> tuple[str, str]:
    return case.component, 'paper' if case.oracle else 'mmrazor'
