"""Can the optimiser and the schedules of a config be built?"""

from __future__ import annotations

import copy
from typing import Any

import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from kd_plugins.build import explain_failure
from kd_plugins.errors import Fault, describe_error

# stands for the number of iterations of an epoch, which only the data know
ITERATIONS = 1000


def schedule_faults(config: Any, model: nn.Module) -> list[Fault]:
    """Build the optimiser and the schedules of a config, and throw them away.

    Args:
        config: The whole config.
        model: Of the config.

    Returns:
        What is wrong with them.
    """
    wanted = config.get('optim_wrapper')
    try:
        wrapper = build_optim_wrapper(model, copy.deepcopy(wanted))
    except Exception as error:
        # mmengine and torch have seen nothing but the config
        return _constructor_faults(wanted, model, error) or list(explain_failure(error, 'optim_wrapper', wanted).faults)
    schedules = config.get('param_scheduler')
    if not isinstance(getattr(wrapper, 'optimizer', None), torch.optim.Optimizer) or schedules is None:
        return []
    faults: list[Fault] = []
    single = isinstance(schedules, dict)
    for index, schedule in enumerate([schedules] if single else schedules):
        where = 'param_scheduler' if single else f'param_scheduler.{index}'
        if isinstance(schedule, dict):
            try:
                _build(schedule, wrapper, config.get('train_cfg') or {})
            except Exception as error:
                faults += explain_failure(error, where, schedule).faults
    return faults


def _constructor_faults(wanted: Any, model: nn.Module, error: Exception) -> list[Fault]:
    """A fault where a constructor could work with the student, and not with what is around it."""
    student = getattr(model, 'architecture', None)
    if student is None or not isinstance(wanted, dict) or not wanted.get('constructor'):
        return []
    try:
        build_optim_wrapper(student, copy.deepcopy(wanted))
    except Exception:
        return []
    return [
        Fault(
            'optim_wrapper.constructor',
            'a constructor that takes any model',
            f'{wanted["constructor"]!r}, which takes the student alone and no {type(model).__name__} around it '
            f'({describe_error(error)})',
            'remove it and what it alone reads in paramwise_cfg, or choose a student whose recipe has none; learning '
            "rates of parts are set by paramwise_cfg=dict(custom_keys={'architecture.backbone': dict(lr_mult=0.1)})",
        )
    ]


def _build(schedule: dict[str, Any], wrapper: Any, train_cfg: dict[str, Any]) -> None:
    schedule = copy.deepcopy(schedule)
    end = train_cfg.get('max_epochs' if schedule.get('by_epoch', True) else 'max_iters')
    if end is not None:
        schedule.setdefault('end', end)
    PARAM_SCHEDULERS.build(schedule, default_args=dict(optimizer=wrapper, epoch_length=ITERATIONS))
