"""One optimiser for each part of a model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapperDict
from torch import nn

from kd_plugins.errors import Fault, UserError, closest
from kd_plugins.registry import OPTIM_WRAPPER_CONSTRUCTORS

WHERE = 'optim_wrapper'


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class SeparateOptimWrapperConstructor:
    """Builds an optimiser for each named child of a model, as data-free distillation needs.

    A config has it as ``optim_wrapper=dict(constructor='SeparateOptimWrapperConstructor',
    architecture=dict(optimizer=…), generator=dict(optimizer=…))``. Children that are not named are not trained; a
    warning says so where they could be.

    Args:
        optim_wrapper_cfg: By name of the child, what ``optim_wrapper`` is for a whole model: ``optimizer``, and
            optionally ``type``, ``paramwise_cfg``, ``accumulative_counts``, ``clip_grad``, …
        paramwise_cfg: Has to be None: each child has its own.

    Raises:
        UserError: An entry is no such dict, or there is none.
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None) -> None:
        faults: list[Fault] = []
        if paramwise_cfg is not None:
            advice = 'move it into the dicts of the parts'
            faults.append(Fault(f'{WHERE}.paramwise_cfg', 'one in each part', repr(paramwise_cfg), advice))
        parts = optim_wrapper_cfg if isinstance(optim_wrapper_cfg, Mapping) else {}
        if not parts:
            advice = 'write architecture=dict(optimizer=…), generator=dict(optimizer=…)'
            faults.append(Fault(WHERE, 'a dict by part of the model', repr(optim_wrapper_cfg), advice))
        self.constructors: dict[str, DefaultOptimWrapperConstructor] = {}
        for name, config in parts.items():
            if not isinstance(config, Mapping) or 'optimizer' not in config:
                advice = f'write {name}=dict(optimizer=…), or move {name} into the dicts of the parts'
                faults.append(Fault(f'{WHERE}.{name}', 'dict(optimizer=…) of a part', repr(config), advice))
                continue
            options = dict(config)
            paramwise = options.pop('paramwise_cfg', None)
            self.constructors[name] = DefaultOptimWrapperConstructor(options, paramwise)
        if faults:
            raise UserError(*faults)

    def __call__(self, model: nn.Module) -> OptimWrapperDict:
        """Build the optimisers.

        Args:
            model: The model, or its wrapper for several processes.

        Returns:
            They, by name of the child.

        Raises:
            UserError: The model has no child of a name, or the child has nothing to train.
        """
        if is_model_wrapper(model):
            model = model.module  # type: ignore[assignment]
        trainable = {name for name, child in model.named_children() if _is_trainable(child)}
        faults = [
            Fault(f'{WHERE}.{name}', f'a part of {type(model).__name__} to train', repr(name), closest(name, trainable))
            for name in self.constructors
            if name not in trainable
        ]
        if faults:
            raise UserError(*faults)
        if idle := sorted(trainable - set(self.constructors)):
            text = f'{WHERE} names no {" and no ".join(idle)}: weights there stay as they are'
            print_log(text, logger='current', level=logging.WARNING)
        return OptimWrapperDict(
            **{name: construct(model.get_submodule(name)) for name, construct in self.constructors.items()}
        )


def _is_trainable(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())
