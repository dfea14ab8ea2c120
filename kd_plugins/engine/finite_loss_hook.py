"""Hook that lets no loss that is NaN or infinite reach the weights."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import EMAHook, Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from kd_plugins.engine.diagnosis import diagnose
from kd_plugins.engine.kept_tensors import KeptTensors
from kd_plugins.engine.loss_values import LossValues
from kd_plugins.engine.model_of import model_of
from kd_plugins.engine.sample_names import sample_names
from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import HOOKS

# under this name, checkpoints hold the number of steps that were skipped
SKIPPED = 'skipped_steps'
# and whether the present step, of several iterations, is spoiled
SPOILED = 'spoiled_step'
DIVERGED = 'lower lr or warm it up, clip gradients with optim_wrapper.clip_grad, or take bf16 in place of fp16'
ADVICE = {
    'inputs': 'look at these samples and at what the data pipeline makes of them',
    'teacher': 'look at the weights and the data_preprocessor of the teacher, and at its precision',
    'student': DIVERGED,
    'connector': DIVERGED,
    'loss': 'look at the loss_weight and the other arguments of the loss',
    '': DIVERGED,
}


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops the training before the optimiser steps if a loss is NaN or infinite, or passes over some such steps.

    The message names the losses, the iteration, the samples and the first record that is not finite. Every loss is
    looked at that ``parse_losses`` of the model is given in a training step, which holds for any model of mmengine. On
    a GPU the losses are copied behind the forward and read before the optimiser steps, with the backward queued.
    Several processes decide alike, though one of them alone has the bad loss.

    A step that is skipped leaves weights, buffers (BatchNorm statistics), the optimiser, the loss scale and averaged
    weights (EMA) to the bit as they were; schedules go on. If gradients are accumulated, one bad loss spoils the whole
    step. Steps that the loss scaler of mixed precision leaves out do not count, since their losses are finite.

    Args:
        skip: How many such steps are skipped in a whole training, resumed or not; the next one stops it. Above 0,
            the buffers of the model are copied before each step.

    Raises:
        UserError: ``skip`` is not a whole number from 0 on.
    """

    # after the hook that averages weights, before those that save them
    priority = 'BELOW_NORMAL'

    def __init__(self, skip: int = 0) -> None:
        if isinstance(skip, bool) or not isinstance(skip, int) or skip < 0:
            raise UserError(Fault('skip', 'a whole number from 0 on', repr(skip), '0 stops at the first bad loss'))
        self.skip = skip
        self._undo = ExitStack()
        self._waiting: list[LossValues] = []
        self._batch: Any = None
        self._in_step = self._spoiled = False
        self._begins = True
        self._buffers: KeptTensors | None = None
        self._averages: list[KeptTensors] = []

    def before_train(self, runner: Any) -> None:
        """Listen to the losses of the model, and to the steps of its optimisers."""
        model = model_of(runner)
        self._waiting, self._begins, self._averages = [], True, []
        self._buffers = KeptTensors(lambda: dict(model.named_buffers())) if self.skip else None
        if runner.iter == 0:
            # what an earlier training in this process has left
            runner.message_hub.update_info(SKIPPED, 0)
            runner.message_hub.update_info(SPOILED, False)
        self._spoiled = bool(runner.message_hub.get_info(SPOILED, False))
        self._listen(model)
        for wrapper in _wrappers(runner):
            self._guard(runner, wrapper)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Note the batch, and at the begin of a step the buffers."""
        self._in_step, self._batch = True, data_batch
        if self._begins and self._buffers is not None:
            self._buffers.keep()
        self._begins = False

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Look at the losses of an iteration without a step, and take back what was averaged after a skipped one.

        Raises:
            UserError: A loss is not finite, and no step may be skipped any more.
        """
        self._judge(runner)
        for average in self._averages:
            average.restore()
        self._in_step, self._batch, self._averages = False, None, []

    def after_train(self, runner: Any) -> None:
        """Leave model and optimisers as they were without the hook."""
        self._undo.close()

    def _listen(self, model: nn.Module) -> None:
        parse: Any = getattr(model, 'parse_losses', None)
        if parse is None:
            return  # no BaseModel of mmengine, which shows its losses to nobody

        @functools.wraps(parse)
        def parse_losses(*args: Any, **kwargs: Any) -> Any:
            parsed = parse(*args, **kwargs)
            if self._in_step:
                # what is trained, and their sum
                self._waiting.append(LossValues({name: value for name, value in parsed[1].items() if 'loss' in name}))
            return parsed

        self._replace(model, parse_losses)

    def _guard(self, runner: Any, wrapper: OptimWrapper) -> None:
        step = wrapper.step

        # schedulers look at an attribute of it
        @functools.wraps(step)
        def guarded(**kwargs: Any) -> None:
            self._judge(runner)
            if self._spoiled:
                self._pass_over(runner)
            else:
                step(**kwargs)
                if self._buffers is not None and isinstance(runner.optim_wrapper, OptimWrapperDict):
                    # the next optimiser's step begins within this iteration
                    self._buffers.keep()
            self._begins = True

        self._replace(wrapper, guarded)

    def _replace(self, owner: Any, method: Any) -> None:
        """Put another method in the place of one of this object alone, until the training ends."""
        name = method.__name__
        if name in vars(owner):
            self._undo.callback(setattr, owner, name, vars(owner)[name])
        else:
            self._undo.callback(delattr, owner, name)
        setattr(owner, name, method)

    def _judge(self, runner: Any) -> None:
        """Look at the losses since the last time; a bad one spoils the step, or ends the training."""
        waiting, self._waiting = self._waiting, []
        bad = [values for values in waiting if not values.finite]
        if not bad:
            return
        # a recorder of gradients has the model's own losses parsed first, under names that are not those of the log
        found, advice = self._report(runner, bad[-1].bad)
        skipped = runner.message_hub.get_info(SKIPPED, 0)
        if not self._spoiled and skipped >= self.skip:
            self._undo.close()
            raise UserError(self._fault(runner, found, advice))
        if not self._spoiled:
            runner.message_hub.update_info(SKIPPED, skipped + 1)
        self._set_spoiled(runner, True)
        if self._buffers is not None:
            # a checkpoint before the end of the step has none of its NaN
            self._buffers.restore()
        count = runner.message_hub.get_info(SKIPPED)
        runner.logger.warning(f'Skipped step {count} of at most {self.skip}: iteration {runner.iter + 1}, {found}')

    def _fault(self, runner: Any, found: str, advice: str) -> Fault:
        after = f' after {self.skip} skipped steps' if self.skip else ''
        more = f"custom_hooks=[dict(type='kd_plugins.FiniteLossHook', skip={self.skip or 3})] skips as many such steps"
        if self.skip:
            more = f'raise skip of FiniteLossHook above {self.skip}'
        return Fault(f'iteration {runner.iter + 1}', f'finite losses{after}', found, f'{advice}; {more}')

    def _report(self, runner: Any, bad: Mapping[str, float]) -> tuple[str, str]:
        """What is wrong in every process, and what to do about the first of them."""
        context = _wrappers(runner)[0].optim_context
        # its losses are none of the step
        self._in_step = False
        # by each process, bad or not: layers of theirs may exchange statistics
        diagnosis = diagnose(model_of(runner), self._batch, context)
        self._in_step = True
        parts = {name: number for name, number in bad.items() if name != 'loss'} or bad
        losses = ', '.join(f'{name} {number}' for name, number in parts.items())
        own = (f'{losses}; {diagnosis.text}; {sample_names(self._batch, diagnosis.rows)}', diagnosis.place)
        reports = all_gather_object(own if bad else None)
        told = {rank: report for rank, report in enumerate(reports) if report is not None}
        several = get_world_size() > 1
        found = ' | '.join(f'process {rank}: {text}' if several else text for rank, (text, _) in told.items())
        return found, ADVICE[next(iter(told.values()))[1]]

    def _set_spoiled(self, runner: Any, spoiled: bool) -> None:
        self._spoiled = spoiled
        runner.message_hub.update_info(SPOILED, spoiled)

    def _pass_over(self, runner: Any) -> None:
        """Leave everything as if there had been no such step."""
        self._set_spoiled(runner, False)
        runner.optim_wrapper.zero_grad()
        assert self._buffers is not None  # skip is above 0
        self._buffers.restore()
        self._averages = [_kept_average(hook.ema_model) for hook in runner.hooks if isinstance(hook, EMAHook)]


def _wrappers(runner: Any) -> list[OptimWrapper]:
    whole = runner.optim_wrapper
    return list(whole.values()) if isinstance(whole, OptimWrapperDict) else [whole]


def _kept_average(model: nn.Module) -> KeptTensors:
    kept = KeptTensors(lambda: {**dict(model.named_parameters()), **dict(model.named_buffers())})
    kept.keep()
    return kept
