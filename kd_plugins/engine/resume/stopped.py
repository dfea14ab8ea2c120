"""The checkpoint of a training that was asked to stop."""

from __future__ import annotations

from typing import Any, NoReturn

from mmengine.dist import barrier

from kd_plugins.engine.resume.whole_checkpoint_hook import WholeCheckpointHook
from kd_plugins.engine.stop_signals import StopRequested


def save_stopped(runner: Any, iteration: int, stop: StopRequested) -> NoReturn:
    """Save where a training stops, and stop it.

    Args:
        runner: The runner, in every process.
        iteration: Iterations that are done.
        stop: What stops it; told what was saved.

    Raises:
        StopRequested: ``stop``.
    """
    stop.iteration = iteration
    for hook in runner.hooks:
        if isinstance(hook, WholeCheckpointHook):
            stop.saved = hook.save_stopped(runner, iteration)
    # a process that ends has the launcher end the first one, which is still writing
    barrier()
    raise stop
