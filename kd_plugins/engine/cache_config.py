"""A config that trains from a teacher cache sees the views that were cached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import ConfigDict

from kd_plugins.errors import Fault, UserError
from kd_plugins.teacher.cache import MANIFEST, read_manifest

WHERE = 'model.teacher_cache'
VIEWS, SAMPLER = 'ReplayedViews', 'ViewSampler'
# goes around ReplayedViews
SOUND = 'SoundSamples'
# arguments of ReplayedViews
DEFAULTS = {'views': 1, 'seed': 0}


def use_teacher_cache(config: Any) -> None:
    """Wrap the training data of a config that has ``model.teacher_cache``.

    Args:
        config: The whole config; its ``train_dataloader`` is changed.

    Raises:
        UserError: There is no cache, or the config has other views than it.
    """
    model, loader = config.get('model'), config.get('train_dataloader')
    folder = model.get('teacher_cache') if isinstance(model, dict) else None
    if folder is None or not isinstance(loader, dict):
        return
    manifest = read_manifest(folder, WHERE)
    cached = {name: getattr(manifest, name) for name in DEFAULTS}
    written = views_of(config)
    if written is None:
        wrap_training_data(config, **cached)
        return
    advice = 'write what was cached, or leave ReplayedViews out: it is added'
    faults = [
        Fault(f'train_dataloader.dataset.{name}', f'{cached[name]}, as in {folder}', repr(written[name]), advice)
        for name in DEFAULTS
        if written[name] != cached[name]
    ]
    if faults:
        raise UserError(*faults)
    wrap_training_data(config, **cached)


def leave_out_missing_cache(config: Any) -> list[Fault]:
    """Take a teacher cache that is not written yet out of a config, so that the rest of it can be checked.

    Args:
        config: The whole config, which is changed.

    Returns:
        What is missing; empty where the cache is there, or none is named.
    """
    model = config.get('model')
    folder = model.get('teacher_cache') if isinstance(model, dict) else None
    if not isinstance(folder, str) or Path(folder, MANIFEST).is_file():
        return []
    del model['teacher_cache']
    try:
        read_manifest(folder, WHERE)
    except UserError as error:
        return list(error.faults)
    return []


def views_of(config: Any) -> dict[str, Any] | None:
    """Views and seed of the ``ReplayedViews`` that a config wrote itself; None where it did not."""
    dataset = place_of_views(config.train_dataloader).get('dataset')
    return {name: dataset.get(name, value) for name, value in DEFAULTS.items()} if is_type(dataset, VIEWS) else None


def wrap_training_data(config: Any, views: int, seed: int) -> None:
    """Put ``ReplayedViews`` around the training data and ``ViewSampler`` around their sampler, where they are not yet.

    Args:
        config: The whole config, which is changed.
        views: Views of each sample.
        seed: Of the views.
    """
    loader = config.train_dataloader
    place = place_of_views(loader)
    if isinstance(place.get('dataset'), dict) and not is_type(place['dataset'], VIEWS):
        place['dataset'] = ConfigDict(type=f'kd_plugins.{VIEWS}', dataset=place['dataset'], views=views, seed=seed)
    if isinstance(loader.get('sampler'), dict) and not is_type(loader.sampler, SAMPLER):
        loader.sampler = ConfigDict(type=f'kd_plugins.{SAMPLER}', sampler=loader.sampler)


def place_of_views(loader: Any) -> Any:
    """The part of a data loader's config whose ``dataset`` is ``ReplayedViews``, or is to become it."""
    while is_type(loader.get('dataset'), SOUND):
        loader = loader['dataset']
    return loader


def is_type(config: Any, name: str) -> bool:
    """Whether the config of a part is that of a class.

    Args:
        config: Of the part; what is no config is not.
        name: Of the class, without scope.
    """
    kind = config.get('type') if isinstance(config, dict) else None
    return getattr(kind, '__name__', str(kind).rpartition('.')[2]) == name
