"""Validation of a student that is its own teacher."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import CheckpointHook
from mmengine.runner import ValLoop

from kd_plugins.engine.distill_val_loop import add_prefix, run_student
from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import LOOPS

STUDENT_PREFIX = 'student.'


@LOOPS.register_module()
class SelfDistillValLoop(ValLoop):
    """Gives the student's metrics under ``student.``, as MMRazor names them.

    ``save_best='auto'`` of mmengine's ``CheckpointHook`` takes the first of them; a metric that is named there needs
    the prefix.

    Args:
        runner: The runner.
        dataloader: The validation data, or its config.
        evaluator: The evaluator, or its config.
        fp16: Validate under autocast.

    Raises:
        UserError: ``save_best`` names a metric without the prefix.
    """

    def __init__(self, runner: Any, dataloader: Any, evaluator: Any, fp16: bool = False) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook) and hook.save_best:
                _check_save_best(hook.save_best)

    def run(self) -> dict[str, float]:
        """Validate.

        Returns:
            The metrics.
        """
        metrics = add_prefix(run_student(self), STUDENT_PREFIX)
        self.runner.call_hook('after_val_epoch', metrics=metrics)
        self.runner.call_hook('after_val')
        return metrics


def _check_save_best(names: str | list[str]) -> None:
    """Refuse now what ``CheckpointHook`` would stumble over after the first epoch."""
    for name in [names] if isinstance(names, str) else names:
        if name != 'auto' and not name.startswith(STUDENT_PREFIX):
            raise UserError(
                Fault(
                    'default_hooks.checkpoint.save_best',
                    f'a metric of SelfDistillValLoop, which begins with {STUDENT_PREFIX!r}',
                    repr(name),
                    f"write '{STUDENT_PREFIX}{name}', or 'auto'",
                )
            )
