"""Arms side by side: which of them can be measured, and what is known of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from rich.progress import track

from kd_plugins.benchmark.arm import Arm, LeftOut
from kd_plugins.benchmark.memory import peak_of_step
from kd_plugins.benchmark.result import ArmResult, Result
from kd_plugins.benchmark.rounds import Round, Surroundings, measure_rounds
from kd_plugins.benchmark.setting import Setting
from kd_plugins.benchmark.work import floor_on_gpu, flops_of_step
from kd_plugins.benchmark.workload import Workload
from kd_plugins.engine.allocator import keep_freed_memory

Builder = Callable[[Workload], Callable[[], torch.Tensor]]
# ours comes first; ratios are to the other one
OURS, BARE = 'ours', 'bare'
# other losses than ours
OTHER_WORK = ('student-only',)
COMPILED = 'compiled'
# those that run as plain PyTorch does: a CPU gives freed memory back to the system
PLAIN = ('bare', 'mmrazor', 'torchdistill', 'modelopt')
# rounds that are not measured; the first step of each arm, of which the loss is noted, comes before them
WARM_UP = 1


def compare_arms(workload: Workload, builders: Mapping[str, Builder], result: Result) -> None:
    """Measure the arms that can do the config, and note in the result why others are left out.

    Args:
        workload: What is run.
        builders: By name, what builds an arm's step, or raises :class:`LeftOut`; ours is among them.
        result: Gets the rounds, and what is known of each arm.
    """
    arms = build_arms(workload, builders, result.left_out)
    steps = {arm.name: arm.step for arm in arms}
    firsts = {name: float(step()) for name, step in steps.items()}
    result.rounds, result.keeps_memory = rounds_as_trained(steps, workload.setting, 'rounds')
    result.base = BARE if BARE in steps else OURS
    for arm in arms:
        deviation = abs(firsts[arm.name] / firsts[OURS] - 1) if arm.same_work and firsts[OURS] else None
        result.arms[arm.name] = _describe(arm, firsts[arm.name], deviation, workload.setting)


def build_arms(workload: Workload, builders: Mapping[str, Builder], left_out: dict[str, str]) -> list[Arm]:
    """The arms that can be measured.

    Args:
        workload: What is run.
        builders: As for :func:`compare_arms`.
        left_out: Gets the reasons for the others, by name.
    """
    arms = []
    for name, build in builders.items():
        try:
            arms.append(Arm(name, build(workload), same_work=name not in OTHER_WORK))
        except LeftOut as reason:
            left_out[name] = str(reason)
    return arms


def rounds_as_trained(
    steps: Mapping[str, Callable[[], Any]], setting: Setting, what: str
) -> tuple[Sequence[Round], list[str]]:
    """Measure steps, each with the memory that its training has: on a CPU, ours keep what is freed.

    Args:
        steps: What is run in turn, by name of the arm.
        setting: How many rounds.
        what: Name of the bar.

    Returns:
        The rounds, and the names of those that kept memory.
    """
    if setting.device != 'cpu' or not keep_freed_memory():
        return warm_rounds(steps, setting, what), []
    keeping = [name for name in steps if name not in PLAIN]
    rounds = warm_rounds(steps, setting, what, Surroundings(keeping, keep_freed_memory))
    keep_freed_memory()
    return rounds, keeping


def warm_rounds(
    steps: Mapping[str, Callable[[], Any]], setting: Setting, what: str, surroundings: Surroundings | None = None
) -> Sequence[Round]:
    """Warm up, then measure, with a bar on the terminal.

    Args:
        steps: What is run in turn, by name.
        setting: How many rounds.
        what: Name of the bar.
        surroundings: What else some of the steps have.
    """
    total = WARM_UP + setting.rounds
    ticks = iter(track(range(total), description=what, transient=True))
    rounds = measure_rounds(
        steps,
        total,
        setting.seed,
        setting.synchronize,
        on_round=lambda number: next(ticks),
        surroundings=surroundings,
    )
    next(ticks, None)
    return rounds[WARM_UP:]


def _describe(arm: Arm, first: float, deviation: float | None, setting: Setting) -> ArmResult:
    found = ArmResult(first, deviation, peak_of_step(arm.step, setting.device))
    if not arm.name.endswith(COMPILED):
        found.flops = flops_of_step(arm.step)
        if setting.device == 'cuda':
            floor = floor_on_gpu(arm.step, found.flops, setting)
            found.floor = {**asdict(floor), 'seconds': floor.seconds}
    return found
