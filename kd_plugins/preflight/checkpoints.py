"""Is a checkpoint one of this model, and one to resume from?"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from kd_plugins.checkpoint import describe_misfit, read_checkpoint, weights_of
from kd_plugins.compat.checkpoint import convert_optimizer
from kd_plugins.errors import Fault, UserError
from kd_plugins.preflight.resumption import refuse_foreign_optimizer, refuse_other_teachers, refuse_unresumable


def check_checkpoint(model: nn.Module, path: str, where: str, resume: bool = False, config: Any = None) -> None:
    """Refuse a checkpoint that is not one of ``model``; the model's weights are overwritten.

    Args:
        model: The model.
        path: The checkpoint.
        where: The option that named it.
        resume: Whether a training shall go on from it, which takes more than weights.
        config: Of that training, whose optimiser and schedules are tried on it.

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
    if resume:
        refuse_unresumable(checkpoint, path, where)
        refuse_other_teachers(checkpoint, model, path, where)
        if 'optimizer' in checkpoint and 'state_dict' in checkpoint and isinstance(model, BaseModel):
            convert_optimizer(checkpoint, model, where)
        if config is not None:
            refuse_foreign_optimizer(checkpoint, config, model, path, where)


def resume_faults(config: Any, model: BaseModel) -> tuple[Fault, ...]:
    """Hold the checkpoint that a config starts or resumes from against the model.

    Args:
        config: The whole config.
        model: Of the config; its weights are overwritten.
    """
    path = config.get('load_from')
    try:
        if path and config.get('resume') is True:
            check_checkpoint(model, path, '--resume', resume=True, config=config)
        elif path:
            _load_weights(model, path)
    except UserError as error:
        return error.faults
    return ()


def _load_weights(model: nn.Module, path: str) -> None:
    """Load weights to start from; refuse those of which no name is the model's, of which mmengine would load none."""
    checkpoint = read_checkpoint(path, 'load_from')
    saved = checkpoint.get('state_dict', checkpoint)
    state = OrderedDict(
        (name.removeprefix('module.'), value) for name, value in saved.items() if isinstance(value, torch.Tensor)
    )
    vars(state).update(vars(saved) if isinstance(saved, OrderedDict) else {})  # the versions of the modules
    if set(state) & set(model.state_dict()):
        # as the Runner does: what does not fit stays as it is
        load_state_dict(model, state, strict=False, logger='silent')
        return
    got, advice = f'{path}, of which no weight has a name of it', 'is it the checkpoint of another model?'
    student = getattr(model, 'architecture', None)
    if isinstance(student, nn.Module) and set(weights_of(checkpoint)) & set(student.state_dict()):
        advice = (
            f"if it is the student's, model.architecture.init_cfg=dict(type='Pretrained', checkpoint={str(path)!r})"
        )
    raise UserError(Fault('load_from', f'weights of this {type(model).__name__}', got, advice))
