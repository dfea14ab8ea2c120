"""A sweep: every combination and seed, what they are held against, and the report."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from mmengine.config import Config

from kd_plugins.engine.config import load_config
from kd_plugins.engine.launch import complete_config
from kd_plugins.errors import Fault, UserError
from kd_plugins.preflight import inspect_training
from kd_plugins.report.arms import BASELINE
from kd_plugins.report.result import Result, read_result
from kd_plugins.sweep.baseline import place_in_baseline
from kd_plugins.sweep.execute import Failure, Run, execute
from kd_plugins.sweep.grid import leaves_of, with_values
from kd_plugins.sweep.launch import Launcher
from kd_plugins.sweep.plan import CONFIG_FILE, Arm, claim, describe, plan, same_compute

MOST_RUNS = 1000


@dataclass(frozen=True)
class Sweep:
    """What a command line asks for.

    Attributes:
        config: Path of the config.
        grid: Values by key.
        seeds: How many, from 0 on.
        baseline: Path of a config that the runs are held against; None for the student alone.
        work_dir: Where all goes.
        options: ``--cfg-options``, for the config and for what the baseline has of it.
        many: Whether more than :data:`MOST_RUNS` runs are meant.
    """

    config: str
    grid: dict[str, Any]
    seeds: int
    baseline: str | None
    work_dir: Path
    options: dict[str, Any]
    many: bool


class Watcher(Protocol):
    """Who is told how a sweep goes."""

    def begin(self, total: int, done: int) -> None:
        """So many runs in all, of which some were done before."""

    def more(self, total: int, done: int) -> None:
        """It has turned out how many runs there are, of which some more were done before."""

    def end_of(self, run: Run, result: Result | None) -> None:
        """A run has ended; None where it failed."""


def prepare(sweep: Sweep, here: bool = True) -> list[Arm]:
    """Do everything that a sweep can be refused for, and write its config files.

    Args:
        sweep: What was asked for.
        here: Whether its runs are on this machine, so that data, weights and a GPU must be here.

    Raises:
        UserError: With what is wrong; the work_dir is as it was then.
    """
    if sweep.seeds < 1:
        raise UserError(Fault('--seeds', 'a whole number above 0', str(sweep.seeds), '5 say something about noise'))
    config = load_config(sweep.config, sweep.options)
    baseline = _share_options(config, load_config(sweep.baseline), sweep.options) if sweep.baseline else None
    size = sweep.seeds
    for values in sweep.grid.values():
        size *= len(values) if isinstance(values, list) else 1
    _limit(size, sweep)
    arms = plan(config, sweep.grid, baseline, sweep.work_dir)
    _limit(sum(2 if arm.kind == BASELINE else 1 for arm in arms) * sweep.seeds, sweep)
    with tempfile.TemporaryDirectory() as folder:
        for index, arm in enumerate(arms):
            _check(arm, Path(folder, str(index)), here)
    claim(sweep.work_dir, describe(config, sweep.grid, baseline))
    for arm in arms:
        arm.write_config()
    return arms


def run_sweep(sweep: Sweep, arms: Sequence[Arm], launcher: Launcher, watcher: Watcher) -> list[Failure]:
    """Run all that is not done: first the arms, then the baselines that get as much compute as their partners.

    Args:
        sweep: What was asked for.
        arms: Of :func:`prepare`.
        launcher: How runs are started.
        watcher: Is told how it goes.

    Returns:
        The runs that failed.
    """
    # seed by seed, so that what is there early compares all arms
    runs = [Run(arm, seed, arm.folder / CONFIG_FILE) for seed in range(sweep.seeds) for arm in arms]
    open_runs = [run for run in runs if not run.arm.is_done(run.seed)]
    baselines = [arm for arm in arms if arm.kind == BASELINE and arm.partners]
    watcher.begin(len(runs) + len(baselines) * sweep.seeds, len(runs) - len(open_runs))
    failures = execute(open_runs, launcher, watcher.end_of)

    later = []
    for arm in baselines:
        extended = _extended(arm, arms, sweep)
        if extended is not None:
            config = extended.write_config()
            later += [Run(extended, seed, config) for seed in range(sweep.seeds)]
    open_later = [run for run in later if not run.arm.is_done(run.seed)]
    watcher.more(len(runs) + len(later), len(later) - len(open_later))
    return failures + execute(open_later, launcher, watcher.end_of)


def _extended(arm: Arm, arms: Sequence[Arm], sweep: Sweep) -> Arm | None:
    """The baseline with the compute of its partners, measured in this sweep; None where that is no more."""
    partners = [other for other in arms if other.folder in arm.partners]
    own, theirs = (_costs(others, sweep.seeds) for others in ([arm], partners))
    return same_compute(arm, median(theirs) / median(own), sweep.work_dir) if own and theirs else None


def _costs(arms: Sequence[Arm], seeds: int) -> list[float]:
    done = [arm.run_folder(seed) for arm in arms for seed in range(seeds) if arm.is_done(seed)]
    return [read_result(folder).cost for folder in done]


def _limit(runs: int, sweep: Sweep) -> None:
    if runs > MOST_RUNS and not sweep.many:
        expected, advice = f'at most {MOST_RUNS} runs, or --yes', 'vary less, or add --yes if you mean it'
        raise UserError(Fault('--grid', expected, f'{runs} runs at least', advice))


def _check(arm: Arm, folder: Path, here: bool) -> None:
    """Send a config through the preflight as its runs will, from a file."""
    try:
        config = load_config(arm.write_config(folder))
        _require_metric(config)
        config.work_dir, config.launcher = str(arm.folder), 'none'
        complete_config(config)
        faults = inspect_training(config, ready=here).faults
        if faults:
            raise UserError(*faults)
    except UserError as error:
        if not arm.options:
            raise
        raise UserError(*(replace(fault, where=f'{fault.where} ({arm.label})') for fault in error.faults)) from error


def _require_metric(config: Config) -> None:
    """Refuse what would be trained and leave no result."""
    if not config.get('val_evaluator') and not config.get('test_evaluator'):
        expected, advice = 'a metric to compare the runs by', 'add it, with val_dataloader and val_cfg'
        raise UserError(Fault('val_evaluator', expected, 'none, and no test_evaluator', advice))


def _share_options(config: Config, baseline: Config, options: dict[str, Any]) -> Config:
    """The baseline with what the command line sets for the config, where it has such a key."""
    placed = {place_in_baseline(config, key): value for key, value in options.items()}
    has = leaves_of(baseline)
    return with_values(baseline, {path: value for path, value in placed.items() if path in has})
