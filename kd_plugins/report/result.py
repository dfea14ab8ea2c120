"""What a run leaves for reports: one JSON file with its config, its numbers and what they were measured with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from kd_plugins.durable import durable_file
from kd_plugins.errors import Fault, UserError

FILE = 'result.json'
FORMAT = 1
# the metric of classification; other tasks are reported by their first
TOP1 = 'accuracy/top1'


@dataclass(frozen=True)
class Result:
    """One finished run.

    Attributes:
        config: ``file``, ``fingerprint`` (hexadecimal, of everything but seed and folders), and what has to be equal
            for a comparison: ``data``, ``schedule``.
        experiment: ``arm``, ``main`` where no sweep names another; ``options``, the values that it varies; ``sweep``,
            a digest of what it belongs to, None for none.
        seed: Of all random numbers.
        git: ``commit`` of this package's source and whether files are ``changed``; None outside of a repository.
        versions: By package.
        machine: Of :func:`kd_plugins.report.machine.describe_machine`, with the number of ``processes``.
        training: ``images``, ``epochs``, ``iterations``, ``batch_size``, ``seconds`` with validation, of this process;
            ``seconds_per_iteration``, the median, which holds for a resumed run too.
        metrics: Of the student, accuracies in percent.
        teacher_metrics: Of the teacher, or by ``NAME.metric`` of several; empty without.
        split: The data of the metrics, ``test`` or ``val``.
        weights: ``last``, or the file name of the best checkpoint.
        student: ``parameters``, ``bytes`` of the file to ship, ``latency_ms`` of one image (None: not measured).
        teacher: The same of the teacher; None without.
        curves: ``losses`` and ``metrics`` of validation, each a list of pairs by name.
    """

    config: dict[str, Any]
    experiment: dict[str, Any]
    seed: int | None
    git: dict[str, Any] | None
    versions: dict[str, str]
    machine: dict[str, Any]
    training: dict[str, float]
    metrics: dict[str, float]
    teacher_metrics: dict[str, float]
    split: str
    weights: str
    student: dict[str, Any]
    teacher: dict[str, Any] | None
    curves: dict[str, dict[str, list[tuple[float, float]]]]

    @property
    def arm(self) -> str:
        """Which arm of an experiment it belongs to."""
        return self.experiment['arm']

    @property
    def options(self) -> dict[str, Any]:
        """What the experiment varies, by key of the config."""
        return self.experiment['options']

    @property
    def sweep(self) -> str | None:
        """Which sweep it belongs to; None for none."""
        return self.experiment.get('sweep')

    @property
    def metric(self) -> str:
        """The metric that it is judged by."""
        return TOP1 if TOP1 in self.metrics or not self.metrics else next(iter(self.metrics))

    @property
    def score(self) -> float:
        """The student's value of that metric."""
        return self.metrics[self.metric]

    @property
    def teacher_score(self) -> float | None:
        """The teacher's value of that metric; the best one's of several, None without."""
        scores = [value for name, value in self.teacher_metrics.items() if name.endswith(self.metric)]
        return max(scores, default=None)

    @property
    def cost(self) -> float:
        """Seconds of all its training steps."""
        return self.training['seconds_per_iteration'] * self.training['iterations']


def numbers_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that are one number each, and not a list or a matrix."""
    return {name: float(value) for name, value in metrics.items() if isinstance(value, (int, float, np.number))}


def write_result(result: Result, folder: str | Path) -> Path:
    """Write a result into the folder of its run; the file is there whole or not at all.

    Args:
        result: The result.
        folder: The work_dir.

    Returns:
        The file.

    Raises:
        OSError: The disk is full, or cannot be written.
    """
    path = Path(folder) / FILE
    with durable_file(path) as file:
        file.write(f'{json.dumps({"format": FORMAT, **asdict(result)}, indent=1)}\n'.encode())
    return path


def read_result(folder: str | Path) -> Result:
    """Read the result of a run.

    Args:
        folder: The work_dir, or the file itself.

    Raises:
        UserError: There is none, or the file is damaged or of another version.
    """
    path = Path(folder) if Path(folder).suffix == '.json' else Path(folder) / FILE
    advice = 'train it again with tools/train.py, which writes one at its end'
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise UserError(Fault(str(path), 'the result of a finished run', f'{error}', advice)) from error
    names = {field.name for field in fields(Result)}
    if not isinstance(content, dict) or content.pop('format', None) != FORMAT or set(content) != names:
        expected = f'a result of format {FORMAT}'
        raise UserError(Fault(str(path), expected, 'another one', advice))
    if not content['metrics']:
        raise UserError(Fault(f'{path}: metrics', 'one at least', 'none', 'give the config a val_evaluator'))
    return Result(**content)


def find_results(folders: list[str] | list[Path]) -> list[Result]:
    """All results in folders and the folders in them, in the order of their paths.

    Args:
        folders: Work_dirs, or folders of work_dirs.

    Raises:
        UserError: A folder is not there or has no result, or one cannot be read.
    """
    paths = []
    for folder in folders:
        found = [Path(folder)] if Path(folder).is_file() else sorted(Path(folder).rglob(FILE))
        if not found:
            expected = f'a folder with a {FILE} in it, or in its folders'
            got = f'{folder}, which has none' if Path(folder).is_dir() else f'{folder}, which does not exist'
            raise UserError(Fault('WORK_DIR', expected, got, 'tools/train.py writes one at the end of a training'))
        paths += found
    return [read_result(path) for path in dict.fromkeys(path.resolve() for path in paths)]
