"""Can the optimiser and the schedules of a config be built?"""

from __future__ import annotations

import copy
from typing import Any

import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from kd_plugins.build import explain_failure
from kd_plugins.errors import Fault

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
        return list(explain_failure(error, 'optim_wrapper', wanted).faults)
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


def _build(schedule: dict[str, Any], wrapper: Any, train_cfg: dict[str, Any]) -> None:
    schedule = copy.deepcopy(schedule)
    end = train_cfg.get('max_epochs' if schedule.get('by_epoch', True) else 'max_iters')
    if end is not None:
        schedule.setdefault('end', end)
    PARAM_SCHEDULERS.build(schedule, default_args=dict(optimizer=wrapper, epoch_length=ITERATIONS))
