"""Where a training is, and what of it mmengine's checkpoints leave out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from mmengine.dist import all_gather_object, gather_object, get_rank, get_world_size, is_main_process
from mmengine.hooks import EarlyStoppingHook

from kd_plugins.checkpoint import OWN_KEY
from kd_plugins.engine.distributed import JOB
from kd_plugins.engine.model_of import model_of
from kd_plugins.errors import Fault, UserError, describe_error
from kd_plugins.randomness import own_randomness, random_states, set_random_states


@dataclass
class Progress:
    """Where a training is, between the steps that mmengine counts.

    Attributes:
        data_pass: Passes over the data that are complete.
        batch: Batches of the present pass that are trained on.
        validated: Iterations that were done at the last validation.
        before_pass: Random states before the present pass.
    """

    data_pass: int = 0
    batch: int = 0
    validated: int = 0
    before_pass: dict[str, Any] = field(default_factory=dict)


def save_progress(runner: Any, progress: Progress) -> dict[str, Any]:
    """What a checkpoint holds besides mmengine's own; to be called by every process.

    Args:
        runner: The runner.
        progress: Of its loop.

    Returns:
        A dict of plain values and tensors; what the other processes hold is in that of the first one, which saves it.
    """
    # large where losses remember every image
    processes = gather_object(_state_of_process(runner, progress))
    common = {name: value for name, value in asdict(progress).items() if name != 'before_pass'}
    return dict(
        progress=common,
        processes=processes,
        early_stopping=[
            dict(wait_count=hook.wait_count, best_score=float(hook.best_score)) for hook in _stopping(runner)
        ],
        # of a frozen teacher, which need not be evaluated again
        teacher_metrics=getattr(runner.val_loop, 'teacher_metrics', None),
        job=os.environ.get(JOB),
    )


def require_same_place(runner: Any) -> None:
    """Refuse processes that go on from different places, as where a shared disk shows them different checkpoints.

    Args:
        runner: The runner, in every process.

    Raises:
        UserError: With the iterations.
    """
    iterations = all_gather_object(runner.iter)
    if len(set(iterations)) > 1:
        got, advice = f'iterations {iterations}, by process', 'give the checkpoint with --resume PATH'
        raise UserError(Fault('--resume', 'one place to go on from', got, advice))


def load_progress(runner: Any, saved: Mapping[str, Any]) -> tuple[Progress, dict[str, Any] | None]:
    """Take over what :func:`save_progress` saved, random states excepted.

    Args:
        runner: The runner, whose model and hooks are changed.
        saved: What it returned.

    Returns:
        Where the training is; and the random states, for :func:`set_random_states` where the first batch is about to
        be loaded. None where as many processes as now have not been at work: each has its own.

    Raises:
        UserError: It is not what was saved.
    """
    try:
        return _load(runner, saved)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        got = f'one whose {OWN_KEY} is of another form ({describe_error(error)})'
        advice = 'go on from another one with --resume PATH'
        raise UserError(Fault('--resume', 'a checkpoint as it was saved', got, advice)) from error


def _load(runner: Any, saved: Mapping[str, Any]) -> tuple[Progress, dict[str, Any] | None]:
    progress = Progress(**saved['progress'])
    for hook, values in zip(_stopping(runner), saved['early_stopping'], strict=False):
        vars(hook).update(values)
    if saved['teacher_metrics'] is not None and hasattr(runner.val_loop, 'teacher_metrics'):
        runner.val_loop.teacher_metrics = saved['teacher_metrics']
    if len(saved['processes']) != get_world_size():
        runner.logger.warning(
            f'{len(saved["processes"])} processes saved the checkpoint, {get_world_size()} go on: random numbers, and '
            'the order of the data, are others than without the stop'
        )
        progress.before_pass = random_states(gpu=True)
        return progress, None
    own = saved['processes'][get_rank()]
    progress.before_pass = own['before_pass'] or own['random']
    with own_randomness(gpu=True):
        # tried here, where an altered one is refused
        for states in (own['random'], progress.before_pass):
            set_random_states(states)
    model = model_of(runner)
    weights = dict(model.named_parameters())
    for name, gradient in own['gradients'].items():
        weights[name].grad = gradient.to(weights[name])
    buffers = dict(model.named_buffers())
    for name, buffer in own['buffers'].items():
        buffers[name].copy_(buffer)
    return progress, own['random']


def _state_of_process(runner: Any, progress: Progress) -> dict[str, Any]:
    model = model_of(runner)
    # those of a step that is not complete yet, where gradients are accumulated
    gradients = {name: weight.grad.cpu() for name, weight in model.named_parameters() if weight.grad is not None}
    # each process has BatchNorm statistics of its own images
    buffers = dict(model.named_buffers()) if get_world_size() > 1 else {}
    if buffers and is_main_process():
        # it saves those of its weights already
        weights = {value.data_ptr() for value in model.state_dict().values() if isinstance(value, torch.Tensor)}
        buffers = {name: buffer for name, buffer in buffers.items() if buffer.data_ptr() not in weights}
    return dict(
        random=random_states(gpu=True),
        before_pass=progress.before_pass,
        gradients=gradients,
        buffers={name: buffer.cpu() for name, buffer in buffers.items()},
    )


def _stopping(runner: Any) -> list[EarlyStoppingHook]:
    return [hook for hook in runner.hooks if isinstance(hook, EarlyStoppingHook)]
