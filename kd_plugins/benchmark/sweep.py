"""How the cost of a step grows: with the batch, with recorders, with losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from kd_plugins.benchmark.compare import BARE, OURS, Builder, build_arms, rounds_as_trained
from kd_plugins.benchmark.memory import resident_bytes
from kd_plugins.benchmark.ours import our_step, step_of
from kd_plugins.benchmark.rounds import ratios_of, spread_of
from kd_plugins.benchmark.variants import add_recorders, require_distiller, with_losses
from kd_plugins.benchmark.workload import Workload
from kd_plugins.engine.allocator import keep_freed_memory

BATCHES = (1, 2, 4, 8, 16, 32)
RECORDERS = (0, 10, 50)
LOSSES = (1, 2, 4, 8)
MEMORY_STEPS = (20, 200)


def sweep_batch(
    workload: Workload, builders: Mapping[str, Builder], batches: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """Our step and the bare one over batch sizes.

    Args:
        workload: What is run, with another batch at each point.
        builders: What builds both.
        batches: Their sizes; :data:`BATCHES` by default.

    Returns:
        For each size a dict: ``batch``, the seconds of both, and ``ratio``, ours over bare in each round.
    """
    found = []
    for batch in sorted({*(batches or BATCHES)} - {0}):
        setting = replace(workload.setting, batch=batch)
        arms = build_arms(
            Workload(workload.path, setting, workload.options), {name: builders[name] for name in (OURS, BARE)}, {}
        )
        rounds, _ = rounds_as_trained({arm.name: arm.step for arm in arms}, setting, f'batch {batch}')
        point: dict[str, Any] = dict(batch=batch)
        for arm in arms:
            at = spread_of([one.seconds[arm.name] for one in rounds])
            point[arm.name] = dict(asdict(at), images_per_second=batch / at.median)
        if BARE in point:
            point['ratio'] = asdict(spread_of(ratios_of(rounds, OURS, BARE)))
        found.append(point)
    return found


def sweep_losses(workload: Workload, counts: Sequence[int] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Our step over recorders on the student that no loss asks for, and over losses.

    Args:
        workload: What is run, with variants of its config.
        counts: How many of either; :data:`RECORDERS` and :data:`LOSSES` by default.

    Returns:
        ``recorders`` and ``losses``, for each number a dict: ``count``, the seconds, and ``ratio``, in each round over
        those of the smallest number.

    Raises:
        UserError: The config has no such distiller.
    """
    require_distiller(workload.algorithm(), '--sweep losses')
    found = {}
    for kind, usual in (('recorders', RECORDERS), ('losses', LOSSES)):
        numbers = sorted({*(counts or usual)} - ({0} if kind == 'losses' else set()))
        steps = {str(number): _variant(workload, kind, number) for number in numbers}
        rounds, _ = rounds_as_trained(steps, workload.setting, kind)
        found[kind] = [
            {
                'count': number,
                OURS: asdict(spread_of([one.seconds[str(number)] for one in rounds])),
                'ratio': asdict(spread_of(ratios_of(rounds, str(number), str(numbers[0])))),
            }
            for number in numbers
        ]
    return found


def memory_over_steps(workload: Workload, counts: Sequence[int] = MEMORY_STEPS) -> dict[int, int]:
    """Memory of the process after so many steps of ours, in bytes.

    Args:
        workload: What is run.
        counts: Of steps, rising.
    """
    if workload.setting.device == 'cpu':
        keep_freed_memory()
    step, found = our_step(workload), {}
    for number in range(1, counts[-1] + 1):
        step()
        if number in counts:
            found[number] = resident_bytes()
    return found


def _variant(workload: Workload, kind: str, number: int) -> Callable[[], Any]:
    if kind == 'losses':
        return our_step(workload, with_losses(workload.config, number))
    algorithm = workload.algorithm()
    add_recorders(algorithm, number)
    return step_of(algorithm, workload)
