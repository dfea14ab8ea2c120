"""Data that a training can be refused for, once they are loaded: none, of one class, of other classes or places."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.runner import Runner
from torch.utils.data import ConcatDataset

from kd_plugins.checkpoint import read_checkpoint
from kd_plugins.datasets import PackCRDClsInputs, SoundSamples
from kd_plugins.datasets.dataset_wrapper import DatasetWrapper
from kd_plugins.engine.cache_check import on_first_process
from kd_plugins.errors import Fault, UserError
from kd_plugins.randomness import own_randomness

TRAINING = 'train_dataloader.dataset'
# how mmpretrain says that a folder has no images
EMPTY = 'Found 0 files'


def explain_data_failure(error: Exception, part: str) -> UserError | None:
    """Say what is wrong with the files of a data set that could not be loaded.

    Args:
        error: What was raised while a loop was being built.
        part: ``'train'``, ``'val'`` or ``'test'``, whose loop it is.

    Returns:
        What to raise; None where it was not raised by a data set that was reading its files.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    reading = [frame for frame in frames if frame.f_code.co_name in ('full_init', 'load_data_list')]
    # how the data sets of OpenMMLab say that files are missing or damaged
    if not reading or isinstance(error, KeyError):
        return None
    dataset = reading[-1].f_locals.get('self')
    found_none = isinstance(dataset, SoundSamples) and isinstance(error, UserError)
    # mmengine cannot serialise nothing
    if found_none or EMPTY in str(error) or any(frame.f_code.co_name == '_serialize_data' for frame in frames):
        return UserError(_emptiness(dataset, part))
    message = f'{type(error).__name__}: {error}'
    advice = 'look at data_root and ann_file of the data loaders'
    return UserError(Fault('data', 'files of the data set', message, advice))


def check_data(runner: Runner) -> None:
    """Refuse training data without samples or of one class, and those that another order or count would mix up.

    That is classes in another order than the teacher's, and images that share their place with others of a
    ``ConcatDataset``, where the places go into a bank.

    Classes that are called otherwise than the teacher's are a warning. How many they are is the preflight's business.

    Args:
        runner: With its data loaded.

    Raises:
        UserError: With each of these.
    """

    def check() -> list[str]:
        dataset: Any = runner.train_loop.dataloader.dataset
        if not len(dataset):
            raise UserError(_emptiness(dataset, 'train'))
        faults, warnings = _faults_of_classes(runner.cfg, dataset)
        faults += _faults_of_places(dataset)
        if faults:
            raise UserError(*faults)
        return warnings

    for warning in on_first_process(check):
        runner.logger.warning(warning)


def _faults_of_classes(config: Any, dataset: Any) -> tuple[list[Fault], list[str]]:
    faults, warnings = [], []
    names = _names(getattr(dataset, 'metainfo', None))
    if config.model.get('calculate_student_loss', True) and _is_of_one_class(dataset):
        got = f'{len(dataset)} images of {names[0] if names and len(names) == 1 else "one class"}'
        advice = 'look at data_root, data_prefix and ann_file; where labels mean nothing, calculate_student_loss=False'
        faults.append(Fault(TRAINING, 'images of two classes at least', got, advice))
    for where, path in _teachers(config.model):
        taught = _names(_meta(path, where))
        if not names or not taught or names == taught or len(names) != len(taught):
            continue
        place = next(index for index, pair in enumerate(zip(names, taught, strict=True)) if pair[0] != pair[1])
        if set(names) == set(taught):
            got = f'{names[place]!r} as class {place}, where {path} has {taught[place]!r}'
            advice = 'number the classes as the teacher does'
            faults.append(Fault(TRAINING, 'the classes of the teacher in their order', got, advice))
        else:
            warnings.append(
                f'{where}: the teacher calls class {place} {taught[place]!r}, and the training data {names[place]!r}: '
                'are they the same?'
            )
    return faults, warnings


def _faults_of_places(dataset: Any) -> list[Fault]:
    """Look whether ``PackCRDClsInputs`` gives several images one place in the banks of ``CRDLoss``."""
    while not isinstance(dataset, ConcatDataset):
        if not hasattr(dataset, 'dataset'):
            return []
        dataset = dataset.dataset
    parts = dataset.datasets
    if len(parts) < 2:
        return _faults_of_places(parts[0])
    if not any(map(_tells_places, parts)):
        return []
    expected = 'a place of its own for each image, by which CRDLoss remembers it'
    got = f'{len(parts)} data sets in a ConcatDataset, each of which counts from 0'
    return [Fault(TRAINING, expected, got, 'list the images of all of them in one annotation file')]


def _tells_places(dataset: Any) -> bool:
    if isinstance(dataset, ConcatDataset):
        return any(map(_tells_places, dataset.datasets))
    if hasattr(dataset, 'dataset'):
        return _tells_places(dataset.dataset)
    transforms = getattr(getattr(dataset, 'pipeline', None), 'transforms', ())
    return any(isinstance(transform, PackCRDClsInputs) for transform in transforms)


def _is_of_one_class(dataset: Any) -> bool:
    """Whether a classification data set has one class; looks at two labels where it has several, mostly."""
    if not hasattr(dataset, 'get_data_info'):
        return False
    first: Any = None
    # a data set may draw what it tells, as CRDDataset does
    with own_randomness():
        # the last one first: data are often sorted by class
        for index in chain([0, len(dataset) - 1], range(1, len(dataset) - 1)):
            info = dataset.get_data_info(index)
            label = info.get('gt_label') if isinstance(info, Mapping) else None
            if not isinstance(label, (int, np.integer)):
                return False
            if index == 0:
                first = label
            elif label != first:
                return False
    return True


def _teachers(model: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Checkpoint of each teacher, by key path."""
    found = [('model.teacher_ckpt', model.get('teacher_ckpt'))]
    teachers = model.get('teachers')
    for name, teacher in teachers.items() if isinstance(teachers, Mapping) else ():
        found.append((f'model.teachers.{name}.ckpt_path', teacher.get('ckpt_path')))
    # safetensors have no names of classes
    yield from ((where, str(path)) for where, path in found if path and not str(path).endswith('.safetensors'))


def _meta(path: str, where: str) -> Any:
    """What a checkpoint of mmengine says of the data that it was trained on."""
    meta = read_checkpoint(path, where).get('meta')
    return meta.get('dataset_meta') if isinstance(meta, Mapping) else None


def _names(meta: Any) -> list[str]:
    """Names of the classes, where they are names."""
    names = meta.get('classes') if isinstance(meta, Mapping) else None
    return list(map(str, names)) if isinstance(names, Sequence) and not isinstance(names, str) else []


def _emptiness(dataset: Any, part: str) -> Fault:
    while isinstance(dataset, DatasetWrapper):
        dataset = dataset.dataset
    prefix = getattr(dataset, 'data_prefix', None)
    folders = prefix.values() if isinstance(prefix, Mapping) else [prefix]
    places = [getattr(dataset, 'ann_file', None), *folders, getattr(dataset, 'data_root', None)]
    place = next((place for place in places if isinstance(place, (str, Path)) and str(place)), None)
    got = f'none in {place}' if place else f'none in {type(dataset).__name__}'
    advice = 'put them there, in a folder for each class unless ann_file lists them, or correct the path'
    return Fault(f'{part}_dataloader.dataset', 'samples', got, advice)
