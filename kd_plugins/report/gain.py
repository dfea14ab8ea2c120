"""How much better one arm is than another, seed by seed, and whether that is more than noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean, stdev

from scipy import stats

LEVEL = 0.95
# two differences may be equal by chance, and their interval has no width then
FEWEST = 3


@dataclass(frozen=True)
class Gain:
    """The paired difference of two arms, in points of their metric.

    Attributes:
        mean: Over the seeds that both have.
        deviation: Standard deviation of the differences; None for one seed.
        low: Lower end of the 95 % interval of the mean (Student's t); None for one seed.
        high: Its upper end.
        seeds: Their number.
        better: In how many of them the difference is above 0.
    """

    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    seeds: int
    better: int

    @property
    def verdict(self) -> str:
        """What the interval says: ``helps``, ``hurts``, ``no difference seen``; ``too few seeds`` below three.

        It is ``no number`` where a score is none.
        """
        if not math.isfinite(self.mean):
            return 'no number'
        if self.low is None or self.high is None or self.seeds < FEWEST:
            return 'too few seeds'
        if self.low > 0:
            return 'helps'
        return 'hurts' if self.high < 0 else 'no difference seen'

    @property
    def interval(self) -> str:
        """The interval as text."""
        return '' if self.low is None else f'{self.low:+.2f} to {self.high:+.2f}'

    def sentence(self, what: str, condition: str) -> str:
        """The verdict as a plain sentence.

        Args:
            what: What is judged, such as ``Distillation``.
            condition: Against what, such as ``at equal epochs``.
        """
        if self.verdict == 'too few seeds':
            seeds = 'one seed' if self.seeds == 1 else f'{self.seeds} seeds'
            return f'{what} {condition}: {self.mean:+.2f} points with {seeds}, too few to tell it from noise.'
        if self.verdict == 'no number':
            return f'{what} {condition}: a score is no number.'
        said = {
            'helps': f'{what} helps {condition}',
            'hurts': f'{what} hurts {condition}',
            'no difference seen': f'{what}: no difference seen {condition}',
        }[self.verdict]
        return f'{said}: {self.mean:+.2f} points (95 % interval {self.interval}, {self.seeds} seeds).'


def paired_gain(scores: Mapping[int, float], without: Mapping[int, float]) -> Gain | None:
    r"""The gain of one arm over another.

    The interval is that of a mean of paired differences: :math:`\bar d \pm t_{0.975, n-1} s / \sqrt n`.

    Args:
        scores: Of the arm, by seed.
        without: Of what it is held against.

    Returns:
        The gain, no number where a score is none; None where they have no seed in common.
    """
    differences = [scores[seed] - without[seed] for seed in sorted(set(scores) & set(without))]
    if not differences:
        return None
    count, better = len(differences), sum(difference > 0 for difference in differences)
    if not all(map(math.isfinite, differences)):
        return Gain(math.nan, None, None, None, count, better)
    centre = mean(differences)
    if count == 1:
        return Gain(centre, None, None, None, 1, better)
    deviation = stdev(differences)
    half = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * deviation / count**0.5
    return Gain(centre, deviation, centre - half, centre + half, count, better)
