"""Teacher and student of a config: what they are, and what may not be meant."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from typing import Any

from mmengine.model import BaseModel
from torch import nn

from kd_plugins.algorithms import DistillAlgorithm
from kd_plugins.build import beginnings
from kd_plugins.errors import Fault
from kd_plugins.preflight.findings import ModelSummary

NAMES_SHOWN = 4
RANDOM = 'random'
# where classifiers, detectors of one and of two stages, and segmentors have theirs
HEADS = ('head', 'bbox_head', 'roi_head.bbox_head', 'decode_head')


def summarise_models(config: Any, model: BaseModel, absent: Collection[str]) -> list[ModelSummary]:
    """Teacher, student and connectors of a distillation; the model of another config.

    Args:
        config: Of the model.
        model: What was built from it, as far as it could be.
        absent: Key paths of weights that were not there and not loaded.
    """
    if not isinstance(model, DistillAlgorithm):
        return [_summary('model', config, model, _origin(config), 'model', absent)]
    rows = []
    for where, teacher in model.teacher_models().items():
        declared, checkpoint = _declared(config, where)
        origin = str(checkpoint) if checkpoint else _origin(declared)
        role = where.replace('teachers.', 'teacher ')
        rows.append(_summary(role, declared, teacher, origin, f'model.{where}', absent))
    if model.student is not None:
        student = config.get('architecture')
        rows.append(_summary('student', student, model.student, _origin(student), 'model.architecture', absent))
    for comparison in model.comparisons():
        connectors = getattr(comparison.distiller, 'connectors', None)
        if connectors:
            rows.append(_summary('connectors', ', '.join(connectors), connectors, RANDOM, '', ()))
    return rows


def model_warnings(config: Any, model: BaseModel) -> list[Fault]:
    """What a config allows and may not mean.

    Args:
        config: The whole config.
        model: What was built from it, with its weights.
    """
    if not isinstance(model, DistillAlgorithm):
        return []
    warnings = []
    for where, teacher in model.teacher_models().items():
        declared, checkpoint = _declared(config.model, where)
        taken = model.frozen_teacher is not None and model.frozen_teacher.trained
        if not checkpoint and not taken and _origin(declared) == RANDOM:
            key = 'teacher_ckpt' if where == 'teacher' else 'ckpt_path'
            got, advice = 'none: the student will imitate random weights', f'give {key}, or pretrained=True'
            warnings.append(Fault(f'model.{where}', 'trained weights', got, advice))
        classes = _classes(teacher), _classes(model.student)
        if None not in classes and classes[0] != classes[1]:
            got = f'{classes[0]} classes of the teacher and {classes[1]} of the student'
            advice = 'compare features alone, or give both heads the same num_classes'
            warnings.append(Fault(f'model.{where}', "the student's classes", got, advice))
    return warnings


def idle_parameters(config: Any, without_gradient: Sequence[str] | None) -> list[Fault]:
    """Parameters that are to be trained and get no gradient, unless the config allows them.

    Args:
        config: The whole config.
        without_gradient: Their names; None where it is not known.
    """
    wrapper = config.get('model_wrapper_cfg') or config
    if not without_gradient or wrapper.get('find_unused_parameters'):
        return []
    names = ', '.join(without_gradient[:NAMES_SHOWN]) + (', …' if len(without_gradient) > NAMES_SHOWN else '')
    got = f'{len(without_gradient)} without: {names}'
    advice = 'train them or freeze them; with several GPUs, set find_unused_parameters=True'
    return [Fault('model', 'a gradient for every parameter that is trained', got, advice)]


def _summary(
    role: str, config: Any, module: nn.Module, weights: str, where: str, absent: Collection[str]
) -> ModelSummary:
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in module.parameters()]
    missing = any(place.startswith(where) for place in absent)
    return ModelSummary(
        role=role,
        name=_name(config, module),
        parameters=sum(size for size, _ in sizes),
        trainable=sum(size for size, learns in sizes if learns),
        tensors=len(module.state_dict()),
        loaded=0 if weights == RANDOM or missing else len(module.state_dict()),
        weights=f'{weights} (not loaded)' if missing else weights,
    )


def _declared(config: Any, where: str) -> tuple[Any, Any]:
    """What the config of an algorithm says of a teacher: its model and its checkpoint."""
    if where == 'teacher':
        return config.get('teacher'), config.get('teacher_ckpt')
    entry = config['teachers'][where.removeprefix('teachers.')]
    return entry['build_cfg'], entry.get('ckpt_path')


def _name(config: Any, module: nn.Module) -> str:
    if isinstance(config, str):
        return config
    if isinstance(config, Mapping) and 'cfg_path' in config:
        return str(config['cfg_path'])
    backbone = getattr(module, 'backbone', None)
    return type(module).__name__ if backbone is None else f'{type(module).__name__} of {type(backbone).__name__}'


def _origin(config: Any) -> str:
    """Where a model's config takes trained weights from."""
    if isinstance(config, nn.Module):
        return 'given'
    if not isinstance(config, Mapping):
        return RANDOM
    if config.get('pretrained') and 'cfg_path' in config:
        return f'pretrained weights of {config["cfg_path"]}'
    return 'init_cfg' if any(beginnings(config)) else RANDOM


def _classes(model: Any) -> int | None:
    """Number of classes of a model's head, of the last one of a cascade."""
    for place in HEADS:
        head = reduce(lambda part, name: getattr(part, name, None), place.split('.'), model)
        classes = getattr(head[-1] if isinstance(head, nn.ModuleList) else head, 'num_classes', None)
        if isinstance(classes, int):
            return classes
    return None
