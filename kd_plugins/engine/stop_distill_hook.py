"""Hook that ends a distillation before the end of training."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop

from kd_plugins.engine.model_of import model_of
from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import HOOKS


@HOOKS.register_module()
class StopDistillHook(Hook):
    """Trains the student alone from an epoch on: the teacher is no longer run.

    Args:
        stop_epoch: The first epoch without distillation, counted from 0.

    Raises:
        UserError: ``stop_epoch`` is not a whole number from 0 on.
    """

    priority = 'LOW'

    def __init__(self, stop_epoch: int) -> None:
        if not isinstance(stop_epoch, int) or stop_epoch < 0:
            raise UserError(
                Fault('stop_epoch', 'a whole number from 0 on', repr(stop_epoch), 'count the epochs from 0')
            )
        self.stop_epoch = stop_epoch

    def refuse_misfit(self, runner: Any) -> None:
        """Refuse a training that cannot go on without its teacher.

        Raises:
            UserError: The model is no distillation or does not calculate the student's own loss, or the training does
                not count epochs.
        """
        algorithm = model_of(runner)
        if not hasattr(algorithm, 'distillation_stopped') or not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise UserError(
                Fault(
                    'custom_hooks: StopDistillHook',
                    'a distillation that trains by epochs',
                    f'a {type(algorithm).__name__} in a {type(runner.train_loop).__name__}',
                    'remove the hook, or set train_cfg=dict(by_epoch=True, …)',
                )
            )
        if not algorithm.calculate_student_loss:
            raise UserError(
                Fault(
                    'custom_hooks: StopDistillHook',
                    'model.calculate_student_loss=True',
                    'False: after the stop there would be no loss to train on',
                    'end the training at that epoch instead, with train_cfg.max_epochs',
                )
            )

    def before_train(self, runner: Any) -> None:
        """Refuse what :meth:`refuse_misfit` does, for tools that do not ask before."""
        self.refuse_misfit(runner)

    def before_train_epoch(self, runner: Any) -> None:
        """Stop the distillation when its time has come."""
        algorithm = model_of(runner)
        if runner.epoch >= self.stop_epoch and not algorithm.distillation_stopped:
            runner.logger.info(f'Distillation stops: from epoch {runner.epoch + 1} on, the student learns alone.')
            algorithm.distillation_stopped = True
