"""Variants for sweeps: more recorders, more losses."""

from __future__ import annotations

import copy
from typing import Any

from mmengine.config import Config

from kd_plugins.distiller import ConfigurableDistiller
from kd_plugins.errors import Fault, UserError
from kd_plugins.recorders import ModuleOutputs

EXTRA = 'extra'


def add_recorders(algorithm: Any, count: int) -> None:
    """Let an algorithm record more of its student than its losses ask for, which no config can.

    Args:
        algorithm: Ours. Leaves of its student are recorded, one after the other, and again from the first where there
            are fewer.
        count: How many recorders.
    """
    student = algorithm.student
    # the preprocessor that runs is the algorithm's
    parts = [(name, module) for name, module in student.named_modules() if not name.startswith('data_preprocessor')]
    leaves = [name for name, module in parts if name and not any(module.children())]
    recorders = algorithm.distiller.student_recorders.recorders
    for index in range(count):
        recorder = ModuleOutputs(leaves[index % len(leaves)])
        recorder.attach(student)
        recorders[f'{EXTRA}_{index}'] = recorder


def with_losses(config: Config, count: int) -> Config:
    """The config with so many losses: its own in turn, under other names where it has fewer.

    Args:
        config: The whole config.
        count: How many losses.
    """
    config = copy.deepcopy(config)
    distiller = config.model.distiller
    losses, mappings = dict(distiller.distill_losses), dict(distiller.get('loss_forward_mappings') or {})
    names = list(losses)
    distiller.distill_losses, chosen = {}, {}
    for index in range(count):
        name = names[index % len(names)]
        new = name if index < len(names) else f'{name}_{index}'
        distiller.distill_losses[new] = copy.deepcopy(losses[name])
        if name in mappings:
            chosen[new] = copy.deepcopy(mappings[name])
    if mappings:
        distiller.loss_forward_mappings = chosen
    return config


def require_distiller(algorithm: Any, option: str) -> None:
    """Refuse what has no distiller whose losses and recorders are in its config.

    Raises:
        UserError: There is none.
    """
    if not isinstance(getattr(algorithm, 'distiller', None), ConfigurableDistiller):
        got = f'a {type(algorithm).__name__} without'
        raise UserError(Fault(option, 'a config with a ConfigurableDistiller', got, 'give another config'))
