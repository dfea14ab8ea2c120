"""Stages of a distillation, as a config describes them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kd_plugins.arguments import refuse_other_keys, require_choice
from kd_plugins.errors import Fault, Faults, UserError, join_path

CURVES = ('linear', 'cosine')
RAMP = ('start_factor', 'end_factor', 'over', 'curve')


@dataclass(frozen=True)
class Ramp:
    """A factor that goes from one value to another and stays there.

    Attributes:
        start_factor: At the begin of the stage, from 0 on.
        end_factor: After ``over``, from 0 on.
        over: Epochs or iterations on the way, from 1 on.
        curve: ``'linear'``, or ``'cosine'`` for half a wave, which begins and ends gently.
    """

    start_factor: float
    end_factor: float
    over: int
    curve: str = 'linear'

    def at(self, passed: int) -> float:
        """The factor after ``passed`` epochs or iterations of the stage."""
        way = min(passed / self.over, 1.0)
        if self.curve == 'cosine':
            way = (1 - math.cos(math.pi * way)) / 2
        return self.start_factor + (self.end_factor - self.start_factor) * way

    def __str__(self) -> str:
        return f'{self.start_factor:g} to {self.end_factor:g} over {self.over} ({self.curve})'


@dataclass(frozen=True)
class DistillStage:
    """What counts and what is trained for a while.

    Attributes:
        begin: The first epoch or iteration, counted from 0.
        end: The first one after it; None for the last stage.
        losses: Factor by name of the loss; what is not named has 1.
        trained: Paths of modules; None for the whole model.
    """

    begin: int
    end: int | None
    losses: Mapping[str, float | Ramp]
    trained: tuple[str, ...] | None

    def factor(self, name: str, now: int) -> float:
        """The factor of a loss in epoch or iteration ``now``."""
        factor = self.losses.get(name, 1.0)
        return factor.at(now - self.begin) if isinstance(factor, Ramp) else factor

    def is_silent(self, names: Sequence[str]) -> bool:
        """Whether the losses ``names`` are 0 all the time."""
        factors = [self.losses.get(name, 1.0) for name in names]
        return not any(max(part.start_factor, part.end_factor) if isinstance(part, Ramp) else part for part in factors)


def read_stages(stages: Any) -> tuple[DistillStage, ...]:
    """Read ``stages`` of a ``DistillScheduleHook``.

    Args:
        stages: A list of ``dict(end=…, losses=…, trained=…)``.

    Returns:
        The stages, each from the end of the one before.

    Raises:
        UserError: With everything that is wrong with them.
    """
    if not isinstance(stages, (list, tuple)) or not stages:
        advice = 'write stages=[dict(end=10, losses=…, trained=…), dict(losses=…)]'
        raise UserError(Fault('stages', 'a list of stages', repr(stages), advice))
    faults = Faults()
    found, begin = [], 0
    for index, stage in enumerate(stages):
        where = f'stages.{index}'
        if not isinstance(stage, Mapping):
            advice = 'write dict(end=…, losses=…, trained=…), each of which may be left out'
            faults.append(Fault(where, 'a dict', repr(stage), advice))
            continue
        faults.attempt(refuse_other_keys, where, stage, ('end', 'losses', 'trained'))
        last = index == len(stages) - 1
        end = faults.attempt(_read_end, stage.get('end'), f'{where}.end', begin, last)
        losses = faults.attempt(_read_losses, stage.get('losses', {}), f'{where}.losses', end and end - begin)
        trained = faults.attempt(_read_trained, stage.get('trained'), f'{where}.trained')
        found.append(DistillStage(begin, end, losses or {}, trained))
        begin = end or begin
    if faults:
        raise UserError(*faults)
    return tuple(found)


def _read_end(end: Any, where: str, begin: int, last: bool) -> int | None:
    if last:
        if end is not None:
            advice = 'leave it out, or add a stage for what follows: dict() is all losses and the whole model'
            raise UserError(Fault(where, 'none: the last stage lasts until the end of training', repr(end), advice))
        return None
    if isinstance(end, bool) or not isinstance(end, int) or end <= begin:
        expected = f'a whole number above {begin}, where the stage begins'
        advice = 'give the first epoch or iteration after the stage, counted from 0 over the whole training'
        raise UserError(Fault(where, expected, repr(end), advice))
    return end


def _read_losses(losses: Any, where: str, length: int | None) -> dict[str, float | Ramp]:
    if not isinstance(losses, Mapping):
        raise UserError(Fault(where, 'factors by name of the loss', repr(losses), 'write dict(loss_kl=0.5, student=1)'))
    faults = Faults()
    read = {name: faults.attempt(_read_factor, factor, f'{where}.{name}', length) for name, factor in losses.items()}
    if faults:
        raise UserError(*faults)
    return {str(name): factor for name, factor in read.items() if factor is not None}


def _read_factor(factor: Any, where: str, length: int | None) -> float | Ramp:
    if not isinstance(factor, Mapping):
        return _require_factor(factor, where)
    faults = Faults()
    faults.attempt(refuse_other_keys, where, factor, RAMP)
    for key in RAMP[:3]:
        if key not in factor:
            advice = 'write dict(start_factor=0, end_factor=1, over=5)'
            faults.append(Fault(join_path(where, key), 'what a ramp needs', 'none', advice))
    if faults:
        raise UserError(*faults)
    for key in RAMP[:2]:
        faults.attempt(_require_factor, factor[key], join_path(where, key))
    over, curve = factor['over'], factor.get('curve', 'linear')
    if isinstance(over, bool) or not isinstance(over, int) or not 1 <= over <= (length or over):
        expected = f'a whole number from 1 to {length}, the length of the stage' if length else 'a whole number above 0'
        faults.append(Fault(join_path(where, 'over'), expected, repr(over), 'count as for the end of a stage'))
    faults.attempt(require_choice, join_path(where, 'curve'), curve, CURVES)
    if faults:
        raise UserError(*faults)
    return Ramp(float(factor['start_factor']), float(factor['end_factor']), over, curve)


def _require_factor(factor: Any, where: str) -> float:
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 0 <= factor < math.inf:
        advice = 'give a number, or a ramp: dict(start_factor=0, end_factor=1, over=5)'
        raise UserError(Fault(where, 'a finite number from 0 on', repr(factor), advice))
    return float(factor)


def _read_trained(trained: Any, where: str) -> tuple[str, ...] | None:
    if trained is None:
        return None
    names = isinstance(trained, (list, tuple)) and all(isinstance(name, str) for name in trained)
    if not names or not trained:
        advice = "write ['architecture.backbone', …], or leave it out for the whole model"
        raise UserError(Fault(where, 'a list of paths of modules', repr(trained), advice))
    return tuple(trained)
