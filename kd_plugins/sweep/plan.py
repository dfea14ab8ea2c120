"""The runs of a sweep, each in a folder of its own."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config

from kd_plugins.engine.config import load_config
from kd_plugins.engine.run_result import describe_config
from kd_plugins.errors import Fault, UserError
from kd_plugins.report.arms import BASELINE, MAIN, SAME_COMPUTE
from kd_plugins.report.result import FILE, read_result
from kd_plugins.sweep.baseline import length_of, longer, place_in_baseline, student_alone
from kd_plugins.sweep.grid import Options, combinations, leaves_of, name_of, places, with_options, with_values

PLAN_FILE = 'sweep.json'
CONFIG_FILE = 'config.py'


@dataclass(frozen=True)
class Arm:
    """Runs that differ in nothing but their seed.

    Attributes:
        kind: ``main``, ``baseline`` or ``baseline_same_compute``.
        options: What it varies, by key.
        config: The whole config.
        folder: Of its config file and its runs.
        partners: Folders of the arms that it is the baseline of.
    """

    kind: str
    options: Options
    config: Config
    folder: Path
    partners: tuple[Path, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """Of everything but the seed."""
        return describe_config(self.config)['fingerprint']

    @property
    def label(self) -> str:
        """What a run of it is called in a message."""
        return ' '.join([self.kind, *(f'{key}={value}' for key, value in self.options.items())])

    def run_folder(self, seed: int) -> Path:
        """The work_dir of the run with a seed."""
        return self.folder / f'seed_{seed}'

    def is_done(self, seed: int) -> bool:
        """Whether the run with a seed has ended.

        Raises:
            UserError: Its folder has the result of another config.
        """
        folder = self.run_folder(seed)
        if not (folder / FILE).is_file():
            return False
        result = read_result(folder)
        if result.config['fingerprint'] != self.fingerprint or result.seed != seed:
            advice = 'choose another --work-dir, or remove the folder'
            raise UserError(Fault(str(folder), 'a run of this sweep', 'the result of another config', advice))
        return True

    def write_config(self, folder: Path | None = None) -> Path:
        """Write the config file that its runs are started with, into its own folder or another.

        Raises:
            UserError: A file cannot hold the config.
        """
        folder = self.folder if folder is None else folder
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / CONFIG_FILE
        unfinished = path.with_name('unfinished_config.py')
        self.config.dump(unfinished)
        if describe_config(load_config(unfinished))['fingerprint'] != self.fingerprint:
            expected, advice = 'plain values, which a file holds', 'write types as strings'
            raise UserError(Fault(self.label, expected, 'others in the config', advice))
        os.replace(unfinished, path)
        return path


def plan(config: Config, grid: dict[str, Any], baseline: Config | None, work_dir: Path) -> list[Arm]:
    """The arms of a sweep that can be run at once: the config in every combination, and what it is held against.

    Args:
        config: That is swept.
        grid: Values by key.
        baseline: What the runs are held against; None for the student alone of a distillation, and for nothing where
            the config is none. Keys of the grid that it has are changed in it, too.
        work_dir: Of the sweep.

    Returns:
        The arms, one baseline for all combinations that do not change it.

    Raises:
        UserError: The grid does not fit the config.
    """
    sweep = hashlib.sha256(json.dumps(describe(config, grid, baseline)).encode()).hexdigest()[:12]
    mains: list[Arm] = []
    partners: dict[str, list[Arm]] = {}
    shared = {key: _places_in_baseline(config, baseline, key) for key in grid}
    for options in combinations(config, grid):
        main = _arm(MAIN, options, with_options(config, options), sweep, work_dir)
        mains.append(main)
        # a baseline is named by all that changes it, however many values there are: more may be added
        partners.setdefault(name_of({key: options[key] for key in options if shared[key]}), []).append(main)
    if baseline is None and 'architecture' not in config.model:
        return mains
    baselines = []
    for group in partners.values():
        options = {key: value for key, value in group[0].options.items() if shared[key]}
        if baseline is None:
            other = student_alone(group[0].config)
        else:
            other = with_values(baseline, {path: value for key, value in options.items() for path in shared[key]})
        baselines.append(_arm(BASELINE, options, other, sweep, work_dir, [main.folder for main in group]))
    return [*mains, *baselines]


def describe(config: Config, grid: Mapping[str, Any], baseline: Config | None) -> dict[str, Any]:
    """What a sweep is; seeds and further values may be added to it."""
    return dict(
        config=describe_config(config)['fingerprint'],
        baseline=describe_config(baseline)['fingerprint'] if baseline else None,
        keys=list(grid),
    )


def same_compute(arm: Arm, factor: float, work_dir: Path) -> Arm | None:
    """A baseline that trains as long as its partners cost; None where that is no longer than it does.

    What was decided once stays: seeds that are added later are trained as long as those before.

    Args:
        arm: The baseline.
        factor: Cost of its partners over its own.
        work_dir: Of the sweep.
    """
    config = longer(arm.config, max(1.0, factor))
    extended = _arm(SAME_COMPUTE, arm.options, config, arm.config.experiment.sweep, work_dir, arm.partners)
    if (extended.folder / CONFIG_FILE).is_file():
        return replace(extended, config=load_config(extended.folder / CONFIG_FILE))
    return extended if length_of(config) > length_of(arm.config) else None


def claim(work_dir: Path, described: dict[str, Any]) -> None:
    """Make a folder that of a sweep, or see that it is.

    Args:
        work_dir: The folder.
        described: What a sweep has to have in common with one that it goes on with.

    Raises:
        UserError: The folder holds something else, or cannot be written.
    """
    path = work_dir / PLAN_FILE
    advice = 'choose another --work-dir'
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding='utf-8'))
        except ValueError as error:
            raise UserError(Fault(str(path), 'what a sweep wrote', str(error), advice)) from error
        differing = [key for key, value in described.items() if not isinstance(found, dict) or found.get(key) != value]
        if differing:
            got = f'that of another {" and ".join(differing)}'
            raise UserError(Fault(f'--work-dir {work_dir}', 'the folder of this sweep', got, advice))
        return
    if work_dir.exists() and (not work_dir.is_dir() or any(work_dir.iterdir())):
        expected, got = 'a folder that is empty, or that of this sweep', 'a folder that holds something else'
        raise UserError(Fault(f'--work-dir {work_dir}', expected, got, advice))
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(described, indent=1) + '\n', encoding='utf-8')
    except OSError as error:
        raise UserError(Fault(f'--work-dir {work_dir}', 'a folder that can be written', str(error), advice)) from error


def _places_in_baseline(config: Config, baseline: Config | None, key: str) -> list[str]:
    """The dotted keys that a key of the grid has in the baseline; None for the student alone of the config."""
    found = [place_in_baseline(config, path) for path in places(config, key)]
    return [path for path in found if path is not None and (baseline is None or path in leaves_of(baseline))]


def _arm(kind: str, options: Options, config: Config, sweep: str, work_dir: Path, partners: Sequence[Path] = ()) -> Arm:
    config = Config(config.to_dict(), filename=config.filename)
    # an arm of a baseline was made of that of a main one
    origin = (config.get('experiment') or {}).get('config', config.filename)
    config.experiment = dict(arm=kind, options=options, config=origin, sweep=sweep)
    return Arm(kind, options, config, work_dir / kind / name_of(options), tuple(partners))
