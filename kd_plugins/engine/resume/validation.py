"""The validation of a training that may be stopped at any time."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import EMAHook

from kd_plugins.engine.resume.stopped import save_stopped
from kd_plugins.engine.stop_signals import StopRequested
from kd_plugins.randomness import random_states, set_random_states


def validate(loop: Any) -> None:
    """Validate once at an iteration, or not at all: what is stopped leaves the training as it was before.

    Args:
        loop: A resumable loop.

    Raises:
        StopRequested: Between two batches of the validation data.
    """
    if loop.progress.validated == loop.iter:
        return
    states = random_states(gpu=True)
    try:
        loop.runner.val_loop.run()
    except StopRequested as stop:
        for hook in loop.runner.hooks:
            if isinstance(hook, EMAHook):
                # it had exchanged the weights for their average
                hook.after_val_epoch(loop.runner)
        set_random_states(states)
        save_stopped(loop.runner, loop.iter, stop)
    loop.progress.validated = loop.iter
