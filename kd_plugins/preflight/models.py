"""Teacher and student of a config: what they are, and what may not be meant."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mmengine.model import BaseModel
from torch import nn

from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.errors import Fault
from kd_plugins.preflight.findings import ModelSummary
from kd_plugins.teacher import loads_itself

NAMES_SHOWN = 4
RANDOM = 'random'


def summarise_models(config: Any, model: BaseModel, absent: Collection[str]) -> list[ModelSummary]:
    """Teacher, student and connectors of a distillation; the model of another config.

    Args:
        config: Of the model.
        model: What was built from it, as far as it could be.
        absent: Key paths of weights that were not there and not loaded.
    """
    if not isinstance(model, SingleTeacherDistill):
        return [_summary('model', config, model, _origin(config), 'model', absent)]
    teacher, student = config.get('teacher'), config.get('architecture')
    rows = []
    if model.teacher is not None:
        checkpoint = config.get('teacher_ckpt')
        origin = str(checkpoint) if checkpoint else _origin(teacher)
        rows.append(_summary('teacher', teacher, model.teacher, origin, 'model.teacher', absent))
    if model.student is not None:
        rows.append(_summary('student', student, model.student, _origin(student), 'model.architecture', absent))
    connectors = getattr(model.distiller, 'connectors', None)
    if connectors:
        rows.append(_summary('connectors', ', '.join(connectors), connectors, RANDOM, '', ()))
    return rows


def model_warnings(config: Any, model: BaseModel) -> list[Fault]:
    """What a config allows and may not mean.

    Args:
        config: The whole config.
        model: What was built from it.
    """
    warnings = []
    teacher = config.model.get('teacher') if isinstance(model, SingleTeacherDistill) else None
    if teacher is not None and not config.model.get('teacher_ckpt') and _origin(teacher) == RANDOM:
        got, advice = 'none: the student will imitate random weights', 'give teacher_ckpt, or pretrained=True'
        warnings.append(Fault('model.teacher', 'trained weights', got, advice))
    if isinstance(model, SingleTeacherDistill):
        classes = {side: _classes(getattr(model, side)) for side in ('student', 'teacher')}
        if None not in classes.values() and classes['student'] != classes['teacher']:
            got = f'{classes["teacher"]} classes of the teacher and {classes["student"]} of the student'
            advice = 'compare features alone, or give both heads the same num_classes'
            warnings.append(Fault('model.teacher', "the student's classes", got, advice))
    return warnings


def idle_parameters(config: Any, without_gradient: Sequence[str]) -> list[Fault]:
    """Parameters that are to be trained and get no gradient, unless the config allows them.

    Args:
        config: The whole config.
        without_gradient: Their names.
    """
    if not without_gradient or config.get('find_unused_parameters'):
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
    return 'init_cfg' if loads_itself(config) else RANDOM


def _classes(model: Any) -> int | None:
    classes = getattr(getattr(model, 'head', None), 'num_classes', None)
    return classes if isinstance(classes, int) else None
