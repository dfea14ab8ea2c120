"""Arms in turn: every round runs each of them once, in an order of its own."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any


@dataclass(frozen=True)
class Round:
    """One run of each arm.

    Attributes:
        order: Names of the arms as they ran.
        seconds: What each took, in the arms' own order.
    """

    order: tuple[str, ...]
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class Spread:
    """Where the values of the rounds lie.

    Attributes:
        median: The middle one.
        low: First quartile.
        high: Third quartile.
        min: Smallest.
        max: Largest.
    """

    median: float
    low: float
    high: float
    min: float
    max: float


class Surroundings:
    """Something that some arms have and others have not, which is switched between them.

    Args:
        names: Arms that have it.
        switch: Called with whether the next arm has it, when that changes.
    """

    def __init__(self, names: Collection[str], switch: Callable[[bool], Any]) -> None:
        self.names = names
        self.switch = switch
        self._now: bool | None = None

    def has(self, name: str) -> bool:
        """Whether an arm has it."""
        return name in self.names

    def grouped(self, order: Sequence[str]) -> list[str]:
        """An order with the arms of one kind next to each other, the kind of the first one first."""
        first = self.has(order[0])
        return [name for kind in (first, not first) for name in order if self.has(name) is kind]

    def enter(self, name: str) -> bool:
        """Switch to what an arm has; returns whether that is a change."""
        before, self._now = self._now, self.has(name)
        if self._now != before:
            self.switch(self._now)
        return self._now != before


def measure_rounds(
    arms: Mapping[str, Callable[[], Any]],
    rounds: int,
    seed: int = 0,
    synchronize: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
    on_round: Callable[[int], Any] = lambda number: None,
    surroundings: Surroundings | None = None,
) -> list[Round]:
    """Run every arm once a round.

    What the machine does besides falls on all arms of a round alike, so that their ratios within it hold. The order
    changes from round to round: what an arm leaves in the caches is not always met by the same one.

    Args:
        arms: What is run, by name.
        rounds: How many rounds.
        seed: Of the orders.
        synchronize: Waits until what was started is done.
        clock: Returns seconds.
        on_round: Called with the number of each round before it, from 0.
        surroundings: What else some of the arms have.
    """
    shuffler, found = random.Random(seed), []
    # what is there already is not garbage, and need not be looked through each time
    gc.collect()
    gc.freeze()
    try:
        for number in range(rounds):
            on_round(number)
            order = list(arms)
            shuffler.shuffle(order)
            if surroundings is not None:
                # those of one kind one after the other, the kind of the first one first
                order = surroundings.grouped(order)
            seconds = {}
            for name in order:
                if surroundings is not None and surroundings.enter(name):
                    # the first step in new surroundings is not like the others
                    arms[name]()
                # garbage of one arm is not collected at the cost of another
                gc.collect()
                synchronize()
                start = clock()
                arms[name]()
                synchronize()
                seconds[name] = clock() - start
            found.append(Round(tuple(order), {name: seconds[name] for name in arms}))
    finally:
        gc.unfreeze()
    return found


def ratios_of(rounds: Sequence[Round], name: str, base: str) -> list[float]:
    """What an arm took over what another took in the same round, by round."""
    return [round_.seconds[name] / round_.seconds[base] for round_ in rounds]


def spread_of(values: Sequence[float]) -> Spread:
    """Where values lie; all the same place for a single one."""
    low, _, high = quantiles(values, n=4, method='inclusive') if len(values) > 1 else [values[0]] * 3
    return Spread(median(values), low, high, min(values), max(values))
