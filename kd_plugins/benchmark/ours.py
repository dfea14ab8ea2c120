"""The arm that is ours: the algorithm's own ``train_step``."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from mmengine.config import Config

from kd_plugins.algorithms import MultiTeacherDistill, SingleTeacherDistill
from kd_plugins.benchmark.workload import Workload


def our_step(workload: Workload, config: Config | None = None) -> Callable[[], torch.Tensor]:
    """Our training step, as tools/train.py has it.

    Args:
        workload: What is run.
        config: A variant of its config.
    """
    return step_of(workload.algorithm(config), workload)


def our_compiled_step(workload: Workload) -> Callable[[], torch.Tensor]:
    """Our training step with the student compiled, and the teacher where it is frozen."""
    config = copy.deepcopy(workload.config)
    config.model.compile = True
    if isinstance(workload.algorithm(), (SingleTeacherDistill, MultiTeacherDistill)):
        config.model.teacher_forward = {**(config.model.get('teacher_forward') or {}), 'compile': True}
    return our_step(workload, config)


def step_of(algorithm: Any, workload: Workload) -> Callable[[], torch.Tensor]:
    """A step of an mmengine model, with the preprocessing of the batch.

    Args:
        algorithm: Ours, or one of the same interface.
        workload: What is run.
    """
    wrapper, raw = workload.optim_wrapper(algorithm), workload.batch()

    def step() -> torch.Tensor:
        log = algorithm.train_step(raw, wrapper)
        if 'loss' in log:
            return log['loss'].detach()
        return torch.stack([value.detach() for name, value in log.items() if name.endswith('loss')]).sum()

    return step
