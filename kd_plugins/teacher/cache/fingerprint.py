"""What the rows of a cache depend on, in short, so that a change of it is seen."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn

from kd_plugins.errors import join_path
from kd_plugins.stack import installed_package
from kd_plugins.teacher.renormalize import Renormalize

# whose versions the rows depend on
LIBRARIES = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'mmseg', 'numpy', 'opencv', 'Pillow')
PLAIN = (str, int, float, bool, type(None))
# differences of a part that a message names
SHOWN = 3
# parts that the pixels follow from
DATA = ('views', 'pipeline', 'data set')
# of models whose weights are not all here
_remembered: WeakKeyDictionary[nn.Module, tuple[str, str]] = WeakKeyDictionary()


def teacher_fingerprint(algorithm: Any) -> dict[str, Any]:
    """What the answers of an algorithm's teacher to given pixels depend on.

    Args:
        algorithm: With one teacher or several.

    Returns:
        By part: weights, architecture, preprocessing and the versions of the libraries.
    """
    models = algorithm.teacher_models()
    # what prepares the batch, and what prepares it further for one of several teachers
    further = {
        f'teachers.{name.rpartition(".")[2]}': part
        for name, part in algorithm.teacher.named_modules()
        if isinstance(part, Renormalize)
    }
    preprocessors = {'data_preprocessor': algorithm.data_preprocessor, **further}
    return {
        'teacher weights': teacher_digests(algorithm),
        'teacher architecture': {name: _architecture_of(model) for name, model in models.items()},
        'preprocessing': {name: settings_of(module) for name, module in preprocessors.items()},
        'versions': {name: found[1] for name in LIBRARIES if (found := installed_package(name))},
    }


def teacher_digests(algorithm: Any) -> dict[str, str]:
    """SHA-256 of the weights and buffers of an algorithm's teachers, by their key paths."""
    return {name: _weights_of(model) for name, model in algorithm.teacher_models().items()}


def remember_fingerprint(model: nn.Module) -> None:
    """Keep what is to be said of a frozen teacher's weights and architecture, before it is sharded."""
    _remembered[model] = _weights_of(model), _architecture_of(model)


def digests_of_frozen(model: Any) -> dict[str, str]:
    """The digests of teachers that never change; none where the model has no such, or they have random weights."""
    held = getattr(model, 'frozen_teacher', None)
    return teacher_digests(model) if held is not None and held.trained else {}


def digest_of_tensors(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """SHA-256 of names, shapes, dtypes and bytes of tensors, whatever their device and memory format."""
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f'{name} {tuple(tensor.shape)} {tensor.dtype}\n'.encode())
        content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(content.numpy().data)
    return digest.hexdigest()


def describe_plainly(value: Any) -> Any:
    """A config as plain JSON that is the same in every process: classes by name, arrays by their digest."""
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, Mapping):
        return {str(key): describe_plainly(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [describe_plainly(child) for child in value]
    if isinstance(value, (np.ndarray, np.generic)):
        value = torch.from_numpy(np.array(value, ndmin=1))
    if isinstance(value, torch.Tensor):
        return digest_of_tensors([('', value)])
    if isinstance(value, Path):
        return str(value)
    named = value if hasattr(value, '__qualname__') else type(value)
    return f'{named.__module__}.{named.__qualname__}'


def differences(cached: Mapping[str, Any], current: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Where two fingerprints differ.

    Args:
        cached: Of a cache.
        current: Of what is about to use it; parts that it leaves out are not compared.

    Returns:
        Part and key path, and both values; ``'nothing'`` for a key that one of them lacks. Of each part the first few.
    """
    found = []
    for part, value in current.items():
        if part == 'pixels' and any(cached.get(name) != current.get(name) for name in DATA):
            continue  # that other data have other pixels need not be said
        differing = list(_differences(cached.get(part, 'nothing'), value))
        for path, *both in differing[:SHOWN]:
            found.append((f'{part}: {path}' if path else part, shorten(both[0]), shorten(both[1])))
        if len(differing) > SHOWN:
            found.append((part, f'{len(differing)} values', 'others, of which the first are above'))
    return found


def shorten(value: Any) -> str:
    """A value for a message: digests by their first digits."""
    text = re.sub(r'\b([0-9a-f]{12})[0-9a-f]{52}\b', r'\1…', str(value))
    return text if len(text) <= 200 else f'{text[:200]}…'


def _differences(cached: Any, current: Any, path: str = '') -> Iterator[tuple[str, Any, Any]]:
    if isinstance(cached, Mapping) and isinstance(current, Mapping):
        for key in dict.fromkeys((*cached, *current)):
            yield from _differences(cached.get(key, 'nothing'), current.get(key, 'nothing'), join_path(path, str(key)))
    elif isinstance(cached, list) and isinstance(current, list) and len(cached) == len(current):
        for index, pair in enumerate(zip(cached, current, strict=True)):
            yield from _differences(*pair, join_path(path, str(index)))
    elif cached != current:
        yield path, cached, current


def _tensors_of(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """All that a model's output depends on; buffers that are not saved, too."""
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _weights_of(model: nn.Module) -> str:
    return _remembered[model][0] if model in _remembered else digest_of_tensors(_tensors_of(model))


def _architecture_of(model: nn.Module) -> str:
    if model in _remembered:
        return _remembered[model][1]
    lines = [f'{name} {describe_plainly(type(part))} {part.extra_repr()}' for name, part in model.named_modules()]
    digest = hashlib.sha256('\n'.join(lines).encode()).hexdigest()
    return f'{type(model).__name__} {digest}'


def settings_of(module: nn.Module) -> dict[str, Any]:
    """Numbers, switches and tensors of a preprocessor."""
    found = {
        name.lstrip('_'): list(value) if isinstance(value, tuple) else value
        for name, value in vars(module).items()
        if name not in vars(nn.Module()) and isinstance(value, (str, int, float, bool, tuple))
    }
    found.pop('non_blocking', None)
    buffers = {name: buffer.flatten().tolist() for name, buffer in module.named_buffers()}
    return describe_plainly({'type': type(module), **found, **buffers})
