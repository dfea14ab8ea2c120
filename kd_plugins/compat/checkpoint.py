"""Checkpoints of MMRazor's runs: what has to be put in another order before a run goes on from them.

The weights need nothing: the names are the same, and an algorithm knows what to do with a teacher among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseModel

from kd_plugins.algorithms import DistillAlgorithm
from kd_plugins.algorithms.distill_algorithm import TEACHER_PREFIXES
from kd_plugins.errors import Fault, UserError


def convert_optimizer(checkpoint: dict[str, Any], model: BaseModel, where: str) -> None:
    """Bring the state of an optimiser into the order of a model's parameters.

    The optimiser of MMRazor knows the teacher's weights as well, and the connectors in the order of its config. An
    optimiser is saved by the position of each parameter, so both would be confused.

    Args:
        checkpoint: As it was loaded; its ``optimizer`` is changed where it is in another order.
        model: What will be trained.
        where: The option that named the checkpoint.

    Raises:
        UserError: The optimiser cannot be one of this model.
    """
    state = checkpoint.get('optimizer')
    if not isinstance(model, DistillAlgorithm) or not isinstance(state, Mapping) or 'param_groups' not in state:
        return  # of several optimisers, each has one part of the model
    count = sum(len(group['params']) for group in state['param_groups'])
    positions = {name: position for position, (name, _) in enumerate(model.named_parameters())}
    names = _saved_order(checkpoint['state_dict'], model)
    if count != len(names):
        # with paramwise_cfg, the optimiser leaves out what is frozen
        names = [name for name in names if name in positions]
    if names == list(positions):
        return
    if count != len(names):
        got = f'one of {count} parameters, where the weights have {len(names)}'
        advice = 'start from the weights alone with --cfg-options load_from=PATH'
        raise UserError(Fault(where, 'the optimizer of the saved weights', got, advice))
    ours = {saved: positions[name] for saved, name in enumerate(names) if name in positions}
    kept = [
        {**group, 'params': sorted(ours[saved] for saved in group['params'] if saved in ours)}
        for group in state['param_groups']
    ]
    checkpoint['optimizer'] = {
        **state,
        'state': {ours[saved]: value for saved, value in state['state'].items() if saved in ours},
        # with paramwise_cfg, each parameter has a group of its own, in the order of the model
        'param_groups': sorted((group for group in kept if group['params']), key=lambda group: group['params'][0]),
    }


def _saved_order(weights: Mapping[str, Any], model: DistillAlgorithm) -> list[str]:
    """Names of the parameters in the order in which the optimiser that was saved had them."""
    known = {name for name, _ in model.named_parameters()}
    if model.frozen_teacher is not None:
        held = [name for name, _ in model.frozen_teacher.model.named_parameters()]
        known |= {prefix + name for prefix in TEACHER_PREFIXES for name in held}
    return [name for name in weights if name in known]
