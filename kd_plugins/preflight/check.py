"""Everything that can be known to be wrong before the run begins."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope
from mmengine.runner import find_latest_checkpoint
from torch import nn

from kd_plugins.build import FALLBACK_SCOPE, build_component, explain_unknown_type
from kd_plugins.checkpoint import describe_misfit, read_checkpoint
from kd_plugins.errors import Fault, UserError
from kd_plugins.preflight.data import data_faults
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
    faults = type_faults(config, scope) + data_faults(config)
    if faults:
        raise UserError(*faults)
    with torch.random.fork_rng(), DefaultScope.overwrite_default_scope(scope), _muted():
        model = build_from_config(config)
        batch = probe_batch(config)
        if batch is not None:
            _try_step(model, batch)
    path = config.get('load_from')
    if config.get('resume'):
        path = path or find_latest_checkpoint(config.work_dir)
        if path:
            check_checkpoint(model, path, '--resume')
    elif path:
        read_checkpoint(path, 'load_from')


def check_checkpoint(model: nn.Module, path: str, where: str) -> None:
    """Refuse a checkpoint that is not one of ``model``; the model's weights are overwritten.

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


def build_from_config(config: Any) -> BaseModel:
    """Build ``config.model`` with every complaint under its key path.

    Raises:
        UserError: With what is wrong in it.
    """
    model = config.model.copy()
    if config.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', config.data_preprocessor)
    try:
        return build_component(MMENGINE_MODELS, model, 'model')
    except KeyError as error:
        raise explain_unknown_type(error, 'model', model) from error


@contextmanager
def _muted() -> Iterator[None]:
    """Keep the log for the run itself, which builds the same model again."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@torch.no_grad()
def _try_step(model: BaseModel, batch: dict[str, Any]) -> None:
    model.train()
    try:
        data = model.data_preprocessor(batch, True)
        model(**data, mode='loss')
    except UserError as error:
        raise error.within('model') from error
