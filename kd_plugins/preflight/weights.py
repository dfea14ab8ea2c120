"""Which trained weights a config asks for, and whether they are here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from kd_plugins.build import resolve_model_config
from kd_plugins.build.beginning import KEYS, beginnings
from kd_plugins.checkpoint import local_path
from kd_plugins.errors import Fault, UserError, join_path

# a checkpoint, and the model beside it whose pretrained weights it stands for
CHECKPOINTS = {'teacher_ckpt': 'teacher', 'ckpt_path': 'build_cfg'}


class Place(NamedTuple):
    """Where a config names weights.

    Attributes:
        where: Key path of the file.
        node: A dict of the config.
        path: Keys below it of what names the file; with ``cfg_path`` they lie in the config of the library.
        file: Path or address; None where the library lists none.
        used: Whether training needs it: what a part begins with it does not where the whole model is loaded.
    """

    where: str
    node: Any
    path: tuple[str, ...]
    file: str | None
    used: bool = True


def set_aside_absent_weights(model: Any) -> list[Fault]:
    """Take checkpoints that are not on this machine out of a model's config, so that it can be checked without.

    Args:
        model: The config of the algorithm or the model, which is changed.

    Returns:
        A warning per checkpoint.
    """
    warnings = []
    for place in list(_places(model, 'model')):
        if place.file is None or local_path(place.file).is_file():
            continue
        if not place.used and place.node.get('pretrained') is True:
            continue  # its key may be that of the whole model's weights, which are here
        remote = '://' in place.file
        if place.used:
            warnings.append(
                Fault(
                    place.where,
                    'weights on this machine, to hold them against the model',
                    f'{place.file}, which is not {"downloaded yet" if remote else "there yet"}',
                    'training downloads it' if remote else 'train it first, or correct the path; training needs it',
                )
            )
        _take_out(place)
        model_config = place.node.get(CHECKPOINTS.get(place.path[-1], ''))
        if isinstance(model_config, dict) and 'cfg_path' in model_config and model_config.get('pretrained'):
            model_config['pretrained'] = False
    return warnings


def _take_out(place: Place) -> None:
    node = place.node
    *parents, key = place.path
    for parent in parents:
        if isinstance(node, dict) and parent not in node:
            node[parent] = {}
        node = node[parent] if isinstance(node, dict) else node[int(parent)]
    node[key] = False if node.get(key) is True else None


def _places(node: Any, where: str, replaced: bool = False) -> Iterator[Place]:
    """Every place below a part of a config; where ``replaced``, a checkpoint stands for what the model begins with."""
    if isinstance(node, (list, tuple)):
        for index, child in enumerate(node):
            yield from _places(child, f'{where}.{index}', replaced)
    if not isinstance(node, dict):
        return
    for key in CHECKPOINTS:
        if isinstance(node.get(key), str):
            yield Place(join_path(where, key), node, (key,), node[key])
    if 'cfg_path' in node:
        yield from _places_in_library(node, where, replaced)
        return
    for key, child in node.items():
        if key in KEYS:
            for path, file in beginnings({key: child}):
                yield Place(join_path(where, *path), node, (key,), file, not replaced)
        else:
            below = replaced or any(key == name and node.get(checkpoint) for checkpoint, name in CHECKPOINTS.items())
            yield from _places(child, join_path(where, str(key)), below)


def _places_in_library(node: Any, where: str, replaced: bool) -> Iterator[Place]:
    try:
        _, config, address = resolve_model_config(node, where)
    except UserError:
        return
    whole = bool(node.get('pretrained'))
    if whole and not replaced:
        yield Place(join_path(where, 'pretrained'), node, ('pretrained',), address)
    for path, file in beginnings(config):
        key = next(index for index, step in enumerate(path) if step in KEYS)
        yield Place(join_path(where, *path), node, path[: key + 1], file, not whole and not replaced)
