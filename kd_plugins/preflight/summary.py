"""What the models of a config are, and how many of their tensors came from files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from mmengine.model import BaseModel
from torch import nn

from kd_plugins.algorithms import DistillAlgorithm
from kd_plugins.build import beginnings
from kd_plugins.checkpoint import LoadedTensors, own_tensors
from kd_plugins.preflight.findings import ModelSummary, PartSummary

RANDOM = 'random'
GIVEN = 'given'
PRETRAINED = 'pretrained weights of '


def summarise_models(
    config: Any, model: BaseModel, absent: Collection[str], loaded: LoadedTensors
) -> list[ModelSummary]:
    """Teacher, student and connectors of a distillation; the model of another config.

    Args:
        config: The whole config.
        model: What was built from it, as far as it could be, with its weights.
        absent: Key paths of weights that were not there and not loaded.
        loaded: What was loaded since before the model was built.
    """
    start = str(config.get('load_from') or '')
    if not isinstance(model, DistillAlgorithm):
        return [_summary('model', config.model, None, model, 'model', absent, loaded, start)]
    rows = []
    for where, teacher in model.teacher_models().items():
        declared, checkpoint = declared_teacher(config.model, where)
        role, place = where.replace('teachers.', 'teacher '), f'model.{where}'
        rows.append(_summary(role, declared, checkpoint, teacher, place, absent, loaded, start))
    if model.student is not None:
        declared = config.model.get('architecture')
        rows.append(_summary('student', declared, None, model.student, 'model.architecture', absent, loaded, start))
    for comparison in model.comparisons():
        connectors = getattr(comparison.distiller, 'connectors', None)
        if connectors:
            names = ', '.join(connectors)
            rows.append(_summary('connectors', names, None, connectors, '', (), loaded, start))
    return rows


def declared_teacher(config: Any, where: str) -> tuple[Any, Any]:
    """What the config of an algorithm says of a teacher: its model and its checkpoint."""
    if where == 'teacher':
        return config.get('teacher'), config.get('teacher_ckpt')
    entry = config['teachers'][where.removeprefix('teachers.')]
    return entry['build_cfg'], entry.get('ckpt_path')


def is_absent(where: str, absent: Collection[str]) -> bool:
    """Whether weights of a model were not there.

    Args:
        where: Key path of the model's config.
        absent: Key paths of weights that were not there.
    """
    return any(place == f'{where}_ckpt' or place.startswith(f'{where}.') for place in absent)


def _summary(
    role: str,
    config: Any,
    checkpoint: Any,
    module: nn.Module,
    where: str,
    absent: Collection[str],
    loaded: LoadedTensors,
    start: str,
) -> ModelSummary:
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in module.parameters()]
    origin = str(checkpoint) if checkpoint else _origin(config)
    if origin == GIVEN:
        parts = [PartSummary(part.name, part.tensors, part.tensors, ()) for part in _parts(module, loaded)]
    else:
        parts = _parts(module, loaded)
    count = sum(part.loaded for part in parts)
    files = dict.fromkeys(file for part in parts for file in part.files)
    return ModelSummary(
        role=role,
        name=_name(config, module),
        parameters=sum(size for size, _ in sizes),
        trainable=sum(size for size, learns in sizes if learns),
        tensors=sum(part.tensors for part in parts),
        loaded=count,
        weights=_weights(origin, files, start, count, bool(where) and is_absent(where, absent)),
        parts=tuple(parts),
    )


def _weights(origin: str, files: Iterable[str], start: str, count: int, missing: bool) -> str:
    """Where the weights of a model come from, in words."""
    if not count:
        return f'{origin} (not loaded)' if missing else RANDOM
    # the name of a library's config says more than the address of its weights
    known = origin.startswith(PRETRAINED)
    names = dict.fromkeys(origin if known and file != start else file for file in files)
    text = ', '.join(names) or (origin if origin != RANDOM else 'loaded by the model itself')
    return f'{text} (others not loaded)' if missing else text


def _parts(module: nn.Module, loaded: LoadedTensors) -> list[PartSummary]:
    """The children of a model that have tensors, and the tensors beside them under the name ``''``."""
    tensors: Counter[str] = Counter()
    given: Counter[str] = Counter()
    files: dict[str, dict[str, None]] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        child = path.partition('.')[0]
        for name, _ in own_tensors(part):
            tensors[child] += 1
            file = loaded.file_of(part, name)
            given[child] += file is not None
            if file:
                files.setdefault(child, {})[file] = None
    return [PartSummary(child, count, given[child], tuple(files.get(child, ()))) for child, count in tensors.items()]


def _name(config: Any, module: nn.Module) -> str:
    if isinstance(config, str):
        return config
    if isinstance(config, Mapping) and 'cfg_path' in config:
        return str(config['cfg_path'])
    backbone = getattr(module, 'backbone', None)
    return type(module).__name__ if backbone is None else f'{type(module).__name__} of {type(backbone).__name__}'


def _origin(config: Any) -> str:
    """Where a model's config says that its trained weights come from."""
    if isinstance(config, nn.Module):
        return GIVEN
    if not isinstance(config, Mapping):
        return RANDOM
    if config.get('pretrained') and 'cfg_path' in config:
        return f'{PRETRAINED}{config["cfg_path"]}'
    return 'init_cfg' if any(beginnings(config)) else RANDOM
