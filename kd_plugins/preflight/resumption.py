"""Can a training go on from what a checkpoint says of its progress, its optimiser and its schedules?"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper

from kd_plugins.checkpoint import OWN_KEY
from kd_plugins.errors import Fault, UserError, describe_error
from kd_plugins.teacher.cache import digests_of_frozen, shorten

ADVICE = 'start from its weights alone with --cfg-options load_from=PATH'
# shape and type of what an optimiser keeps of a parameter, by name
Forms = dict[torch.Tensor, dict[str, Any]]
# what mmengine's MessageHub reads of its state
OF_THE_HUB = ('log_scalars', 'runtime_info', 'resumed_keys')


def refuse_unresumable(checkpoint: Mapping[str, Any], path: str, where: str) -> None:
    """Refuse a checkpoint whose progress is not written as mmengine writes it.

    Args:
        checkpoint: As it was read, with ``meta`` and ``message_hub``.
        path: Of it.
        where: The option that named it.

    Raises:
        UserError: With the first part of another form.
    """
    fault = next(iter(_misformed(checkpoint)), None)
    if fault:
        raise UserError(Fault(where, 'a checkpoint of a training', f'{path}, whose {fault}', ADVICE))


def refuse_foreign_optimizer(
    checkpoint: Mapping[str, Any], config: Any, model: BaseModel, path: str, where: str
) -> None:
    """Let the optimiser of a config take a step from the state of another, on a model that is thrown away.

    Args:
        checkpoint: As it was read.
        config: The whole config.
        model: Of the config; its weights move.
        path: Of the checkpoint.
        where: The option that named it.

    Raises:
        UserError: It cannot.
    """
    if 'optimizer' not in checkpoint:
        return
    wrapper = build_optim_wrapper(model, copy.deepcopy(config.optim_wrapper))
    try:
        optimizers = _optimizers(wrapper)
        _step(optimizers)
        expected = [_forms(optimizer) for optimizer in optimizers]
        wrapper.load_state_dict(checkpoint['optimizer'])
        # a fused optimiser reads past the end of a state that is too short
        _hold_against(expected, optimizers)
        _step(optimizers)
    except Exception as error:
        # whatever an optimiser makes of a state that is not its own
        got = f'{path}, whose optimizer is not that of this config ({describe_error(error, 160)})'
        raise UserError(Fault(where, 'a checkpoint of this training', got, ADVICE)) from error


def refuse_other_teachers(checkpoint: Mapping[str, Any], model: Any, path: str, where: str) -> None:
    """Refuse to go on with another frozen teacher than the training began with.

    Args:
        checkpoint: As it was read; one of mmengine or MMRazor does not say.
        model: Of the config, with its teachers.
        path: Of the checkpoint.
        where: The option that named it.

    Raises:
        UserError: With the fingerprints of both.
    """
    own = checkpoint.get(OWN_KEY)
    known = own.get('teachers') if isinstance(own, Mapping) else None
    if not isinstance(known, Mapping):
        return
    for name, current in digests_of_frozen(model).items():
        if name in known and known[name] != current:
            expected = f'the {name} that the training began with, whose weights have the SHA-256 {shorten(known[name])}'
            advice = 'give its checkpoint, or start from weights alone with --cfg-options load_from=PATH'
            raise UserError(Fault(f'model.{name}', expected, f'one with {shorten(current)}', advice))


def _step(optimizers: list[torch.optim.Optimizer]) -> None:
    """Take a step without a gradient."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group['params']:
                parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
        optimizer.step()
        optimizer.zero_grad()


def _forms(optimizer: torch.optim.Optimizer) -> Forms:
    """Shape and type of each tensor that an optimiser keeps, by parameter."""
    return {
        parameter: {name: (value.shape, value.dtype) for name, value in state.items() if torch.is_tensor(value)}
        for parameter, state in optimizer.state.items()
    }


def _hold_against(expected: list[Forms], optimizers: list[torch.optim.Optimizer]) -> None:
    for forms, optimizer in zip(expected, optimizers, strict=True):
        for parameter, found in _forms(optimizer).items():
            for name, form in found.items():
                if form != forms.get(parameter, {}).get(name):
                    raise ValueError(f'{name} of a parameter of shape {tuple(parameter.shape)} has {tuple(form[0])}')


def _misformed(checkpoint: Mapping[str, Any]) -> Iterable[str]:
    meta, hub = checkpoint['meta'], checkpoint['message_hub']
    if not isinstance(meta, Mapping):
        yield f'meta is a {type(meta).__name__}, not a dict'
        return
    for key in ('epoch', 'iter'):
        value = meta.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            yield f'meta.{key} is {value!r:.40}, not a count'
    if not isinstance(meta.get('seed'), (int, type(None))):
        yield f'meta.seed is {meta["seed"]!r:.40}, not a whole number'
    if not isinstance(hub, Mapping):
        yield f'message_hub is a {type(hub).__name__}, not a dict'
        return
    for key in OF_THE_HUB:
        if not isinstance(hub.get(key), Mapping):
            yield f'message_hub.{key} is a {type(hub.get(key)).__name__}, not a dict'
    yield from _misformed_optimizer(checkpoint.get('optimizer', {}))
    yield from _misformed_schedules(checkpoint.get('param_schedulers', []))


def _misformed_optimizer(optimizer: Any) -> Iterable[str]:
    if not isinstance(optimizer, Mapping):
        yield f'optimizer is a {type(optimizer).__name__}, not a dict'
        return
    groups = optimizer.get('param_groups', [])
    sound = isinstance(groups, (list, tuple)) and all(
        isinstance(group, Mapping) and isinstance(group.get('params'), (list, tuple)) for group in groups
    )
    if not sound or not isinstance(optimizer.get('state', {}), Mapping):
        yield 'optimizer has no groups of parameters and a state of each'


def _misformed_schedules(schedules: Any) -> Iterable[str]:
    lists = list(schedules.values()) if isinstance(schedules, Mapping) else [schedules]
    for states in lists:
        if not isinstance(states, (list, tuple)) or not all(isinstance(state, Mapping) for state in states):
            yield 'param_schedulers are not lists of dicts'


def _optimizers(wrapper: Any) -> list[torch.optim.Optimizer]:
    """The optimisers of a wrapper, of which there may be several by name."""
    wrappers = wrapper.values() if hasattr(wrapper, 'optim_wrappers') else [wrapper]
    return [optimizer for each in wrappers if isinstance(optimizer := each.optimizer, torch.optim.Optimizer)]
