"""Several teachers that see the same batch."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import nn

from kd_plugins.arguments import refuse_other_keys, require_positive
from kd_plugins.errors import Fault, Faults, UserError, join_path
from kd_plugins.teacher.build import build_teacher, is_trained
from kd_plugins.teacher.renormalize import Renormalize

KEYS = ('build_cfg', 'ckpt_path', 'weight', 'data_preprocessor')


class Teachers(nn.Module):
    """Teachers under their names, which are the first part of the paths of their modules: ``'r50.head.fc'``.

    Args:
        models: Teachers by name.
        weights: How much each of them counts, by name; 1 where none is given.
        preprocessing: What turns the student's preprocessed images into those of a teacher, by name.

    Attributes:
        faults: What is wrong with them, empty unless built inside :func:`kd_plugins.errors.drafting`.
    """

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        weights: Mapping[str, float] | None = None,
        preprocessing: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        for name, model in models.items():
            self.add_module(name, model)
        self.names = tuple(models)
        self.weights = {name: (weights or {}).get(name, 1.0) for name in models}
        self._preprocessing = nn.ModuleDict(preprocessing or {})
        self.faults: tuple[Fault, ...] = ()

    def forward(self, inputs: torch.Tensor, data_samples: Any = None, mode: str = 'tensor') -> dict[str, Any]:
        """Run every teacher.

        Args:
            inputs: A batch as the student gets it.
            data_samples: Its annotations.
            mode: Of the teachers' forward.

        Returns:
            What each returns, by name.
        """
        return {name: self.run(name, inputs, data_samples, mode) for name in self.names}

    def run(self, name: str, inputs: torch.Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """Run one teacher on its own preprocessing of the batch."""
        if name in self._preprocessing:
            inputs = self._preprocessing[name](inputs)
        return self.get_submodule(name)(inputs, data_samples, mode=mode)


def build_teachers(config: Any, student_preprocessor: nn.Module | None, where: str = 'teachers') -> Teachers:
    """Build teachers and load their weights.

    Args:
        config: By name: ``build_cfg``, a model or the config of one; ``ckpt_path``, path or address of its weights,
            which must fit entirely; ``weight``, how much it counts, 1 by default; ``data_preprocessor``, a dict with
            ``mean``, ``std`` and ``to_rgb`` of its images where they are not the student's.
        student_preprocessor: Of the algorithm; prepares the batch that the teachers get.
        where: Key path of ``config``.

    Returns:
        The teachers. While drafting, what is wrong with them is in its ``faults``.

    Raises:
        UserError: With all that is wrong with them.
    """
    if not isinstance(config, Mapping) or not config:
        got = repr(config) if not isinstance(config, Mapping) else 'none'
        raise UserError(Fault(where, 'teachers by name', got, 'write teachers=dict(a=dict(build_cfg=dict(…), …))'))
    faults = Faults()
    models: dict[str, BaseModel] = {}
    weights: dict[str, float] = {}
    preprocessing: dict[str, nn.Module] = {}
    for name, entry in config.items():
        place = join_path(where, str(name))
        if faults.attempt(_check_entry, name, entry, place) is None:
            continue
        model = faults.attempt(
            build_teacher, entry['build_cfg'], entry.get('ckpt_path'), f'{place}.build_cfg', f'{place}.ckpt_path'
        )
        if model is None:
            continue
        faults.adopt(model, '')
        models[name] = model
        weights[name] = float(entry.get('weight', 1.0))
        if entry.get('data_preprocessor') is not None:
            renormalize = faults.attempt(
                Renormalize.between, student_preprocessor, entry['data_preprocessor'], f'{place}.data_preprocessor'
            )
            if renormalize is not None:
                preprocessing[name] = renormalize
    teachers = Teachers(models, weights, preprocessing)
    teachers.faults = faults.settle()
    return teachers


def are_trained(config: Mapping[str, Any]) -> bool:
    """Whether all teachers have trained weights as their configs say."""
    return all(is_trained(entry['build_cfg'], entry.get('ckpt_path')) for entry in config.values())


def _check_entry(name: Any, entry: Any, where: str) -> bool:
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or hasattr(Teachers({}), name):
        advice = 'it is the first part of the paths of its modules: choose a plain word'
        raise UserError(Fault(where, 'a name for a teacher', repr(name), advice))
    if not isinstance(entry, Mapping) or 'build_cfg' not in entry:
        got = ', '.join(map(str, entry)) if isinstance(entry, Mapping) else repr(entry)
        raise UserError(Fault(where, 'a dict with build_cfg, the config of a teacher', got, 'write dict(build_cfg=…)'))
    refuse_other_keys(where, entry, KEYS)
    try:
        require_positive('weight', entry.get('weight', 1.0), 'leave a teacher out that should not count')
    except UserError as error:
        raise error.within(where) from error
    return True
