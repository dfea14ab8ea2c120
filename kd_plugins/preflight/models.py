"""What the teacher and the student of a config may not be meant to be."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

from mmengine.model import BaseModel
from torch import nn

from kd_plugins.algorithms import DistillAlgorithm
from kd_plugins.build import resolve_model_config
from kd_plugins.checkpoint import LoadedTensors, own_tensors
from kd_plugins.errors import Fault
from kd_plugins.preflight.findings import ModelSummary
from kd_plugins.preflight.reached import Held, Reached
from kd_plugins.preflight.summary import RANDOM, declared_teacher, is_absent

NAMES_SHOWN = 4
# where classifiers, detectors of one and of two stages, and segmentors have theirs
HEADS = ('head', 'bbox_head', 'roi_head.bbox_head', 'decode_head')
# of normalisation: buffers that training sets, beside the parameters
STATISTICS = ('running_mean', 'running_var')


def model_warnings(config: Any, model: BaseModel) -> list[Fault]:
    """Warn of a teacher that has other classes than the student.

    Args:
        config: The whole config.
        model: What was built from it.
    """
    if not isinstance(model, DistillAlgorithm):
        return []
    warnings = []
    for where, teacher in model.teacher_models().items():
        classes = _classes(teacher), _classes(model.student)
        if None not in classes and classes[0] != classes[1]:
            got = f'{classes[0]} classes of the teacher and {classes[1]} of the student'
            advice = 'compare features alone, or give both heads the same num_classes'
            warnings.append(Fault(f'model.{where}', "the student's classes", got, advice))
    return warnings + _unmixed(config.model, model)


def _unmixed(config: Any, model: DistillAlgorithm) -> list[Fault]:
    """Batch augmentations of the student that the preprocessor of the algorithm does not apply."""
    architecture = config.get('architecture')
    if model.student is None or not isinstance(architecture, Mapping):
        return []
    augments = (resolve_model_config(architecture, 'architecture')[1].get('train_cfg') or {}).get('augments')
    preprocessor = model.data_preprocessor
    if not augments or getattr(preprocessor, 'batch_augments', None) is not None:
        return []
    kinds = ', '.join(str(part.get('type')) for part in (augments if isinstance(augments, list) else [augments]))
    expected = f'a preprocessor that mixes batches, for architecture.train_cfg.augments ({kinds})'
    got = f'{type(preprocessor).__name__}, with which images are not mixed'
    advice = "write type='ClsDataPreprocessor' without batch_augments, or architecture.train_cfg=None"
    return [Fault('model.data_preprocessor', expected, got, advice)]


def untrained_warnings(
    config: Any,
    model: BaseModel,
    summaries: Iterable[ModelSummary],
    loaded: LoadedTensors,
    absent: Collection[str],
    reached: Iterable[Reached],
) -> list[Fault]:
    """Warn of teachers whose records depend on weights that no file gave.

    Nothing is said of a teacher whose weights are not on this machine.

    Args:
        config: The whole config.
        model: What was built from it, with its weights.
        summaries: Of its models.
        loaded: What was loaded since before the model was built.
        absent: Key paths of weights that were not there and not loaded.
        reached: The records of its teachers.
    """
    if not isinstance(model, DistillAlgorithm):
        return []
    weights = {summary.role: summary.weights for summary in summaries}
    warnings = []
    for where, teacher in model.teacher_models().items():
        if is_absent(f'model.{where}', absent):
            continue
        key = 'teacher_ckpt' if where == 'teacher' else 'ckpt_path'
        found = weights[where.replace('teachers.', 'teacher ')]
        if found == RANDOM:
            got, advice = 'none: the student will imitate random weights', f'give {key}, or pretrained=True'
            warnings.append(Fault(f'model.{where}', 'trained weights', got, advice))
        elif not isinstance(declared_teacher(config.model, where)[0], nn.Module) and not _learns(teacher):
            name = '' if where == 'teacher' else f'{where.removeprefix("teachers.")}.'
            warnings += _untrained_records(teacher, name, key, loaded, reached)
    return warnings


def _untrained_records(
    teacher: nn.Module, name: str, key: str, loaded: LoadedTensors, reached: Iterable[Reached]
) -> Iterator[Fault]:
    """A warning for each record of a frozen teacher, whose sources begin with ``name``, that has such weights."""
    names = {module: path for path, module in teacher.named_modules()}
    weights = sum(_is_weight(held) for module in names for held in _held_by(module))
    for record in reached:
        if not record.source.startswith(name):
            continue
        untrained = [
            f'{names[module]}.{tensor}'.lstrip('.')
            for module, tensor in dict.fromkeys(record.held)
            if module in names and _is_weight((module, tensor)) and loaded.file_of(module, tensor) is None
        ]
        if untrained:
            few = ', '.join(untrained[:NAMES_SHOWN]) + (', …' if len(untrained) > NAMES_SHOWN else '')
            yield record.fault(
                'trained weights in the recorded module of the teacher and in all that runs before it',
                f'{record.source!r}, for which {len(untrained)} of {weights} weights are random, as no file has them: '
                f'{few}',
                f'give {key} with all weights of the teacher, or record a module that needs none of these',
            )


def _held_by(module: nn.Module) -> list[Held]:
    return [(module, name) for name, _ in own_tensors(module)]


def _is_weight(held: Held) -> bool:
    module, name = held
    return name in module._parameters or name in STATISTICS


def _learns(teacher: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in teacher.parameters())


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


def _classes(model: Any) -> int | None:
    """Number of classes of a model's head, of the last one of a cascade."""
    for place in HEADS:
        head = reduce(lambda part, name: getattr(part, name, None), place.split('.'), model)
        classes = getattr(head[-1] if isinstance(head, nn.ModuleList) else head, 'num_classes', None)
        if isinstance(classes, int):
            return classes
    return None
