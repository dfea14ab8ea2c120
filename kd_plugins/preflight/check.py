"""Everything that can be known to be wrong before the run begins."""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope
from mmengine.runner import find_latest_checkpoint
from torch import nn

from kd_plugins.build import FALLBACK_SCOPE, build_component
from kd_plugins.checkpoint import describe_misfit, read_checkpoint
from kd_plugins.errors import Fault, UserError
from kd_plugins.preflight.data import data_faults
from kd_plugins.preflight.parts import part_faults
from kd_plugins.preflight.probe import probe_batch
from kd_plugins.preflight.types import type_faults


def check_training(config: Any) -> None:
    """Refuse a training config that cannot run.

    Looks up the types, looks for the data, builds the model, sends one made-up batch through it, and holds a checkpoint
    to resume from against it. The random state of the process stays as it was, and nothing that was built stays.

    Args:
        config: The whole config.

    Raises:
        UserError: With what is wrong.
    """
    scope = config.get('default_scope') or FALLBACK_SCOPE
    faults = part_faults(config, 'train') + part_faults(config, 'val')
    faults += type_faults(config, scope) + data_faults(config)
    if faults:
        raise UserError(*faults)
    with _isolated(), DefaultScope.overwrite_default_scope(scope):
        model = build_from_config(config)
        batch = probe_batch(config)
        if batch is not None:
            _try_step(model, batch)
    path = config.get('load_from')
    if config.get('resume'):
        path = path or find_latest_checkpoint(config.work_dir)
        if path:
            check_checkpoint(model, path, '--resume', resume=True)
    elif path:
        read_checkpoint(path, 'load_from')


def check_testing(config: Any) -> None:
    """Refuse a testing config that cannot run, or a checkpoint in ``config.load_from`` that is not of its model.

    Args:
        config: The whole config.

    Raises:
        UserError: With what is wrong.
    """
    scope = config.get('default_scope') or FALLBACK_SCOPE
    faults = part_faults(config, 'test') + type_faults(config, scope) + data_faults(config, ('test_dataloader',))
    if faults:
        raise UserError(*faults)
    with _isolated(), DefaultScope.overwrite_default_scope(scope):
        check_checkpoint(build_from_config(config), config.load_from, 'CHECKPOINT')


def check_checkpoint(model: nn.Module, path: str, where: str, resume: bool = False) -> None:
    """Refuse a checkpoint that is not one of ``model``; the model's weights are overwritten.

    Args:
        model: The model.
        path: The checkpoint.
        where: The option that named it.
        resume: Whether a training shall go on from it, which takes more than weights.

    Raises:
        UserError: The file cannot be read, or does not fit.
    """
    checkpoint = read_checkpoint(path, where)
    misfit = describe_misfit(model, checkpoint.get('state_dict', checkpoint))
    if misfit:
        raise UserError(
            Fault(
                where,
                f'a checkpoint of this {type(model).__name__}',
                f'{path}, with {misfit}',
                'give a checkpoint of the same config, or another --work-dir to start anew',
            )
        )
    absent = [key for key in ('meta', 'message_hub') if resume and key not in checkpoint]
    if absent:
        raise UserError(
            Fault(
                where,
                'a checkpoint of a training',
                f'{path}, which has no {", ".join(absent)}',
                'start from weights alone with --cfg-options load_from=PATH',
            )
        )


def build_from_config(config: Any) -> BaseModel:
    """Build ``config.model`` with every complaint under its key path.

    Raises:
        UserError: With what is wrong in it.
    """
    # models complete the configs that they are given
    model = copy.deepcopy(config.model)
    if config.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', copy.deepcopy(config.data_preprocessor))
    return build_component(MMENGINE_MODELS, model, 'model')


@contextmanager
def _isolated() -> Iterator[None]:
    """Keep random states as they are, and the log for the run itself, which builds the same model again."""
    states = random.getstate(), np.random.get_state()
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        logging.disable(disabled)
        random.setstate(states[0])
        np.random.set_state(states[1])


@torch.no_grad()
def _try_step(model: BaseModel, batch: dict[str, Any]) -> None:
    model.train()
    try:
        data = model.data_preprocessor(batch, True)
        model(**data, mode='loss')
    except UserError as error:
        raise error.within('model') from error
    except Exception as error:
        # the made-up batch may be what is wrong: only the real one can tell
        logging.disable(logging.NOTSET)
        print_log(
            f'preflight: a made-up batch did not run through the model ({type(error).__name__}: {error})',
            logger='current',
            level=logging.WARNING,
        )
