"""The tables of a report, as text: one row an arm, one a comparison, one a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from kd_plugins.report.arms import Arm, Comparison

UNKNOWN = '–'


def models_table(arms: Sequence[Arm]) -> pd.DataFrame:
    """Teachers, students alone and distilled: how good, how large, how fast, how costly."""
    rows = [_teacher_row(arm) for arm in _one_a_teacher(arms)]
    for arm in arms:
        result = arm.first
        rows.append(
            {
                'model': f'{result.student["name"]} {arm.name}',
                'seeds': str(len(arm.results)),
                arm.metric: spread(arm.mean, arm.deviation),
                'epochs': f'{result.training["epochs"]:g}',
                'training, s': f'{arm.cost:.0f}',
                **_deployed(result.student),
            }
        )
    return pd.DataFrame(rows).fillna(UNKNOWN)


def gains_table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """What each arm gains over its baselines."""
    return pd.DataFrame(
        [
            {
                'arm': comparison.arm.name,
                'against': comparison.against.name,
                'gain': spread(comparison.gain.mean, comparison.gain.deviation, signed=True),
                '95 % interval': comparison.gain.interval or UNKNOWN,
                'better in': f'{comparison.gain.better} of {comparison.gain.seeds}',
                'verdict': comparison.gain.verdict,
            }
            for comparison in comparisons
        ]
    )


def runs_table(arms: Sequence[Arm]) -> pd.DataFrame:
    """Every run with its numbers as they are."""
    rows = []
    for arm in arms:
        for seed, result in arm.results.items():
            rows.append(
                {
                    'arm': arm.kind,
                    'name': arm.name,
                    'seed': seed,
                    result.metric: result.score,
                    'teacher': result.teacher_score,
                    'split': result.split,
                    'weights': result.weights,
                    'epochs': result.training['epochs'],
                    'iterations': result.training['iterations'],
                    'training_seconds': result.cost,
                    'parameters': result.student['parameters'],
                    'bytes': result.student['bytes'],
                    'latency_ms': result.student['latency_ms'],
                    'config': result.config['file'],
                    'fingerprint': result.config['fingerprint'],
                    'commit': (result.git or {}).get('commit'),
                }
            )
            # an option may be called as one of these
            taken = rows[-1].keys()
            rows[-1] |= {f'option {key}' if key in taken else key: value for key, value in arm.options.items()}
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame, left: Sequence[str]) -> str:
    """A table in Markdown.

    Args:
        table: Of strings.
        left: Columns that are words, not numbers.
    """
    rule = ['---' if name in left else '---:' for name in table.columns]
    rows = [[cell.replace('|', '\\|') for cell in row] for row in table.to_numpy().tolist()]
    lines = [list(table.columns), rule, *rows]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def spread(value: float, deviation: float | None, signed: bool = False) -> str:
    """``97.11 ± 0.29``."""
    text = f'{value:+.2f}' if signed and math.isfinite(value) else f'{value:.2f}'
    return text if deviation is None else f'{text} ± {deviation:.2f}'


def _one_a_teacher(arms: Sequence[Arm]) -> list[Arm]:
    """An arm for each teacher that there is."""
    seen: dict[Any, Arm] = {}
    for arm in arms:
        if arm.distils:
            teacher = arm.first.teacher or {}
            # as text: no number equals no other
            seen.setdefault((teacher['name'], teacher['parameters'], str(arm.teacher_score)), arm)
    return list(seen.values())


def _teacher_row(arm: Arm) -> dict[str, str]:
    teacher, score = arm.first.teacher or {}, arm.teacher_score
    return {
        'model': f'teacher {teacher["name"]}',
        'seeds': UNKNOWN,
        arm.metric: UNKNOWN if score is None else f'{score:.2f}',
        'epochs': UNKNOWN,
        'training, s': UNKNOWN,
        **_deployed(teacher),
    }


def _deployed(model: dict[str, float | None]) -> dict[str, str]:
    latency = model['latency_ms']
    return {
        'parameters': f'{(model["parameters"] or 0) / 1e6:.3f} M',
        'file, MB': f'{(model["bytes"] or 0) / 1e6:.3f}',
        'latency, ms': UNKNOWN if latency is None else f'{latency:.2f}',
    }
