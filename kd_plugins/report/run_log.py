"""Reads what mmengine's visualizer wrote during a run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

TEACHER_PREFIX = 'teacher.'


@dataclass(frozen=True)
class RunLog:
    """Curves of a run.

    Attributes:
        losses: By name, pairs of iteration (from 1) and loss.
        metrics: By name, pairs of step and value of each validation, where the step is what mmengine counted:
            epochs in a training by epochs.
    """

    losses: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    metrics: dict[str, list[tuple[int, float]]] = field(default_factory=dict)


def read_run_log(work_dir: str | Path) -> RunLog:
    """Read the newest run of a work_dir.

    Args:
        work_dir: The folder of the run.

    Returns:
        Its curves; empty ones where nothing was logged.
    """
    logs = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    log = RunLog()
    if not logs:
        return log
    for line in logs[-1].read_text().splitlines():
        entry = json.loads(line)
        training = 'iter' in entry
        for name, value in entry.items():
            if training and 'loss' in name:
                log.losses.setdefault(name, []).append((int(entry['iter']), float(value)))
            elif not training and '/' in name:
                log.metrics.setdefault(name, []).append((int(entry['step']), float(value)))
    return log
