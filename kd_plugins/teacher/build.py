"""From the config of a teacher to a model with trained weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import nn

from kd_plugins.build import beginnings, build_model, initialise
from kd_plugins.checkpoint import load_strictly
from kd_plugins.errors import Faults


def build_teacher(
    config: Any, checkpoint: str | None, where: str = 'teacher', checkpoint_where: str = 'teacher_ckpt'
) -> BaseModel:
    """Build a teacher and load its weights.

    Args:
        config: A model, or what :func:`kd_plugins.build.build_model` builds one from.
        checkpoint: Path or address of its weights. They must fit entirely, and stand for those of ``pretrained=True``.
        where: Key path of ``config``.
        checkpoint_where: Key path of ``checkpoint``.

    Returns:
        The teacher. While drafting, what is wrong with the checkpoint is in its ``faults``.

    Raises:
        UserError: The config is not that of a model, or the checkpoint cannot be read or does not fit.
    """
    if checkpoint and isinstance(config, Mapping) and 'cfg_path' in config and config.get('pretrained'):
        config = {**config, 'pretrained': False}
    model, has_weights = build_model(config, where)
    if checkpoint:
        faults = Faults()
        faults.attempt(load_strictly, model, checkpoint, checkpoint_where)
        model.faults = faults.settle()
        model._is_init = True
    elif not has_weights:
        initialise(model, config, where)
        if not is_trained(config, checkpoint):
            print_log(
                f'{where}: no {checkpoint_where} and no pretrained weights: the student will imitate random weights',
                logger='current',
                level=logging.WARNING,
            )
    return model


def is_trained(config: Any, checkpoint: str | None) -> bool:
    """Whether a teacher has trained weights.

    Args:
        config: As for :func:`build_teacher`.
        checkpoint: As for :func:`build_teacher`.
    """
    given = isinstance(config, nn.Module) or (isinstance(config, Mapping) and bool(config.get('pretrained')))
    return bool(checkpoint) or given or any(beginnings(config))
