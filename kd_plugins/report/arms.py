"""The arms of an experiment, and which of them are held against which."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from kd_plugins.errors import join_path
from kd_plugins.report.gain import Gain, paired_gain
from kd_plugins.report.result import Result

MAIN = 'main'
BASELINE = 'baseline'
SAME_COMPUTE = 'baseline_same_compute'
# how far the costs of two trainings may lie apart that are called equal
EQUAL = 0.15
# the same of lengths, which are rounded
EQUAL_EPOCHS = 0.01
# what two students have in common that are the same
STUDENT = ('name', 'parameters')
# metrics of mmpretrain and mmseg that are percentages, also where a model has learnt next to nothing
PERCENT = re.compile(
    r'^(accuracy|single-label|multi-label|retrieval)/|(^|/)[am](Acc|IoU|Dice|Fscore|Precision|Recall)$'
)


@dataclass(frozen=True)
class Arm:
    """Runs that differ in nothing but their seed.

    Attributes:
        kind: ``main``, ``baseline`` or ``baseline_same_compute``.
        options: What the experiment varies, by key.
        results: By seed.
        title: What it is called where the name by its kind would be another's, or not true.
        scale: What its scores are shown times: 100 of a metric in 0…1.
    """

    kind: str
    options: Mapping[str, Any]
    results: Mapping[int, Result]
    title: str | None = None
    scale: int = 1

    @property
    def first(self) -> Result:
        """One of the results, for what they have in common."""
        return _any(self.results)

    @property
    def distils(self) -> bool:
        """Whether there is a teacher."""
        return self.first.teacher is not None

    @property
    def name(self) -> str:
        """What it is called in a table."""
        longer = 'same compute' if self.first.sweep else 'trained longer'
        names = {BASELINE: 'alone, same epochs', SAME_COMPUTE: f'alone, {longer}'}
        name = self.title or names.get(self.kind, 'distilled' if self.distils else self.stem)
        return ', '.join([name, *(f'{key}={value}' for key, value in self.options.items())])

    @property
    def stem(self) -> str:
        """Name of the config file."""
        return Path(self.first.config['file'] or 'trained').stem

    @property
    def metric(self) -> str:
        """What the scores are, as a heading."""
        return self.first.metric if self.scale == 1 else f'{self.first.metric} × {self.scale}'

    @property
    def scores(self) -> dict[int, float]:
        """As they are shown, by seed."""
        return {seed: result.score * self.scale for seed, result in self.results.items()}

    @property
    def teacher_score(self) -> float | None:
        """As it is shown; None without a teacher."""
        score = self.first.teacher_score
        return None if score is None else score * self.scale

    @property
    def mean(self) -> float:
        """Of the scores."""
        return mean(self.scores.values())

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the scores; None for one seed, and where a score is no number."""
        scores = self.scores.values()
        return stdev(scores) if len(scores) > 1 and all(map(math.isfinite, scores)) else None

    @property
    def epochs(self) -> float:
        """Passes over its data."""
        return self.first.training['epochs']

    @property
    def cost(self) -> float:
        """Seconds of all steps of a training, the median over the seeds."""
        return median(result.cost for result in self.results.values())


@dataclass(frozen=True)
class Comparison:
    """An arm and what it is held against.

    Attributes:
        arm: The arm.
        against: The baseline.
        gain: Of the one over the other.
        differences: What the two do not have in common and should, by key path.
    """

    arm: Arm
    against: Arm
    gain: Gain
    differences: tuple[str, ...]

    @property
    def condition(self) -> str:
        """What is equal, or what the two have of it."""
        if self.against.kind == BASELINE:
            if _as_long(self.against, self.arm):
                return 'at equal epochs'
            return f'with {self.arm.epochs:g} epochs against {self.against.epochs:g}'
        ratio = self.against.cost / self.arm.cost
        return 'at equal compute' if abs(ratio - 1) <= EQUAL else f'against {ratio:.2g} times its compute'

    @property
    def sentence(self) -> str:
        """What the comparison says, in plain words."""
        name = self.arm.name
        return self.gain.sentence(name.replace('distilled', 'Distillation', 1), self.condition)


def _any(results: Mapping[int, Result]) -> Result:
    return next(iter(results.values()))


def arms_of(results: Iterable[Result]) -> list[Arm]:
    """Results by arm.

    Runs of a sweep say which arm they are of. Among others, a training without a teacher is a baseline of those with
    one that have the same student: of more compute where it trained for more epochs than they all.

    Args:
        results: In any order; of two with the same config and seed the later one counts.

    Returns:
        The arms: baselines first, then the others by the values of their options.
    """
    groups: dict[tuple[Any, ...], dict[int, Result]] = {}
    for result in results:
        key = result.sweep, result.arm, repr(sorted(result.options.items())), result.config['fingerprint']
        groups.setdefault(key, {})[result.seed or 0] = result
    arms = [Arm(key[1], _any(found).options, dict(sorted(found.items()))) for key, found in groups.items()]
    taught = [arm for arm in arms if arm.distils and not arm.first.sweep]
    arms = [arm if arm.first.sweep else _role(arm, taught) for arm in arms]
    names = [arm.name for arm in arms]
    scales = _scales(arms)
    arms = [
        replace(arm, title=_title(arm, arms, names.count(arm.name) > 1), scale=scales[arm.first.metric]) for arm in arms
    ]
    return sorted(arms, key=_rank)


def compare(arms: Sequence[Arm]) -> list[Comparison]:
    """Every main arm against its baselines, at equal epochs and at equal compute."""
    found = []
    for arm in arms:
        if arm.kind != MAIN:
            continue
        for against in arms:
            if against.kind == MAIN or not _belongs(against, arm):
                continue
            gain = paired_gain(arm.scores, against.scores)
            if gain is not None:
                found.append(Comparison(arm, against, gain, tuple(_differences(arm, against))))
    return found


def _rank(arm: Arm) -> tuple[Any, ...]:
    """Numbers by size; 4 before 20, unlike the names of folders."""
    numbers = (isinstance(value, (int, float)) for value in arm.options.values())
    values = [
        (0, value) if number else (1, str(value)) for number, value in zip(numbers, arm.options.values(), strict=True)
    ]
    return {BASELINE: 0, SAME_COMPUTE: 1}.get(arm.kind, 2), values


def _role(arm: Arm, taught: Sequence[Arm]) -> Arm:
    """What an arm that no sweep made is for those with a teacher."""
    others = [other for other in taught if _same_student(arm, other)]
    if arm.distils or not others:
        return arm
    longer = all(arm.epochs > other.epochs and not _as_long(arm, other) for other in others)
    return replace(arm, kind=SAME_COMPUTE if longer else BASELINE)


def _title(arm: Arm, arms: Sequence[Arm], taken: bool) -> str | None:
    """What an arm is called where the name by its kind does not do; None where it does."""
    if arm.kind == MAIN:
        return arm.stem if taken else None
    if arm.kind == SAME_COMPUTE:
        return None
    partners = [other for other in arms if other.kind == MAIN and _belongs(arm, other)]
    return None if all(_as_long(arm, other) for other in partners) else f'alone, {arm.epochs:g} epochs'


def _as_long(arm: Arm, other: Arm) -> bool:
    return math.isclose(arm.epochs, other.epochs, rel_tol=EQUAL_EPOCHS)


def _scales(arms: Iterable[Arm]) -> dict[str, int]:
    """What the scores of each metric are shown times: 100 where all lie in 0…1 and no percentage does.

    A mean average precision of 0.374 is shown as 37.40, as papers have it.
    """
    scores: dict[str, list[float]] = {}
    for result in (result for arm in arms for result in arm.results.values()):
        found = (result.score, result.teacher_score)
        scores.setdefault(result.metric, []).extend(score for score in found if score is not None)
    return {metric: 100 if _are_shares(metric, found) else 1 for metric, found in scores.items()}


def _are_shares(metric: str, scores: Iterable[float]) -> bool:
    finite = [score for score in scores if math.isfinite(score)]
    return bool(finite) and not PERCENT.search(metric) and all(0 <= score <= 1 for score in finite)


def _same_student(one: Arm, other: Arm) -> bool:
    return all(one.first.student[key] == other.first.student[key] for key in STUDENT)


def _belongs(baseline: Arm, arm: Arm) -> bool:
    if baseline.first.sweep != arm.first.sweep:
        return False
    if baseline.first.sweep is None and not (arm.distils and _same_student(arm, baseline)):
        return False  # no sweep says that they belong together
    return all(arm.options.get(key) == value for key, value in baseline.options.items())


def _differences(arm: Arm, against: Arm) -> Iterator[str]:
    """What two arms differ in that should be matched; of a longer training, length and learning rate are others."""
    yield from _differing(arm.first.config['data'], against.first.config['data'], 'data')
    one, other = (part.first.config['schedule'] for part in (arm, against))
    if against.kind == SAME_COMPUTE:
        one, other = ({key: part.get(key) for key in ('optim_wrapper', 'averaging')} for part in (one, other))
    yield from _differing(one, other, 'schedule')
    for name in ('metric', 'split'):
        if getattr(arm.first, name) != getattr(against.first, name):
            yield name
    if (arm.first.weights == 'last') != (against.first.weights == 'last'):
        yield 'weights'
    if arm.first.machine.get('processes') != against.first.machine.get('processes'):
        yield 'machine.processes'
    for key in STUDENT:
        if arm.first.student[key] != against.first.student[key]:
            yield f'student.{key}'


def _differing(one: Any, other: Any, path: str) -> Iterator[str]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys((*one, *other)):
            yield from _differing(one.get(key), other.get(key), join_path(path, str(key)))
    elif one != other:
        yield path
