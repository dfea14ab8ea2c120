"""What the rows of a cache are views of, and whether these can be seen again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kd_plugins.datasets import ReplayedViews
from kd_plugins.errors import Fault, UserError, describe_error
from kd_plugins.randomness import seeded
from kd_plugins.teacher.cache import describe_plainly

WHERE = 'train_dataloader.dataset'
# rows that are loaded to see whether a pipeline gives the same pixels again
TRIED = 4
# where a data set lies: what lies there is compared instead
PLACES = ('ann_file', 'data_prefix')
# what one may see of the data without a difference to the pixels
INDIFFERENT = ('pipeline', 'data_root', 'lazy_init', 'serialize_data')


def data_fingerprint(dataset: ReplayedViews, config: Any) -> dict[str, Any]:
    """What the pixels of the rows depend on.

    Args:
        dataset: The training data.
        config: The config of what it wraps.

    Returns:
        By part: the views; the pipelines; the data set, its annotations and their order; pixels of a few rows.

    Raises:
        UserError: The pipeline does not give the same pixels again, or the data cannot be loaded.
    """
    pixels = _pixels(dataset)
    return {
        'views': {'views': dataset.views, 'seed': dataset.seed},
        'pipeline': list(_pipelines(describe_plainly(config))),
        'data set': {'config': _settings(config), 'samples': len(dataset), 'content': _content(dataset.dataset)},
        # of a transform whose code has changed, the config says nothing
        'pixels': pixels,
    }


def _pixels(dataset: ReplayedViews) -> dict[str, str]:
    """Digests of the inputs of a few rows, which were loaded twice in different orders."""
    rows = np.unique(np.linspace(0, dataset.rows - 1, TRIED).astype(int)).tolist()
    try:
        first = {row: dataset[row] for row in rows}
        again = {row: dataset[row] for row in reversed(rows)}
    except UserError:
        raise
    except Exception as error:
        # data sets and transforms raise what they like
        got, advice = describe_error(error), 'look at data_root, ann_file and pipeline'
        raise UserError(Fault(WHERE, 'data that can be loaded', got, advice)) from error
    digests = {row: _digest(item['inputs']) for row, item in first.items()}
    changed = [row for row, item in again.items() if _digest(item['inputs']) != digests[row]]
    if changed:
        steps = getattr(getattr(dataset.dataset, 'pipeline', None), 'transforms', [])
        names = ' - '.join(type(step).__name__ for step in steps) or type(dataset.dataset).__name__
        expected = "a pipeline that draws from the random states of Python's random, of NumPy or of torch, and no other"
        got = f'{names}, which loads other pixels for row {changed[-1]} the second time'
        raise UserError(Fault(f'{WHERE}.pipeline', expected, got, 'replace the step that has a generator of its own'))
    return {f'row {row}': digest for row, digest in digests.items()}


def _digest(inputs: Any) -> str:
    return hashlib.sha256(repr(describe_plainly(inputs)).encode()).hexdigest()


def _pipelines(config: Any) -> Iterator[Any]:
    """Every pipeline in the config of a data set, wrappers opened."""
    if isinstance(config, dict):
        for key, value in config.items():
            if key == 'pipeline':
                yield value
            else:
                yield from _pipelines(value)
    elif isinstance(config, list):
        for value in config:
            yield from _pipelines(value)


def _settings(config: Any) -> Any:
    """The config of a data set without its pipelines and without where it lies on this machine."""
    if isinstance(config, dict):
        kept = {}
        for key, value in config.items():
            if key in PLACES:
                kept[key] = _place(value, bool(config.get('data_root')))
            elif key not in INDIFFERENT:
                kept[key] = _settings(value)
        return kept
    if isinstance(config, (list, tuple)):
        return [_settings(value) for value in config]
    return describe_plainly(config)


def _place(value: Any, has_root: bool) -> Any:
    if isinstance(value, dict):
        return {key: _place(child, has_root) for key, child in value.items()}
    if isinstance(value, str) and (Path(value).is_absolute() or not has_root):
        return Path(value).name
    return describe_plainly(value)


def _content(dataset: Any) -> str:
    """SHA-256 of what a data set knows of its samples, in their order: files by their names below its root, labels."""
    if not hasattr(dataset, 'get_data_info'):
        return f'not known of a {type(dataset).__name__}'
    digest = hashlib.sha256()
    roots = tuple(_roots(dataset))
    # a data set may draw what it tells, as CRDDataset does
    with seeded(0, 0):
        for index in range(len(dataset)):
            info = dataset.get_data_info(index)
            digest.update(repr(_without_roots(info, roots)).encode())
    return digest.hexdigest()


def _without_roots(value: Any, roots: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        for root in roots:
            if value.startswith(root):
                return value[len(root) :].lstrip('/')
        return value
    if isinstance(value, dict):
        return [(key, _without_roots(value[key], roots)) for key in sorted(value, key=str)]
    if isinstance(value, (list, tuple)):
        return [_without_roots(child, roots) for child in value]
    return describe_plainly(value)


def _roots(dataset: Any) -> Iterator[str]:
    """Folders below which the files of a data set lie; of those inside a wrapper too."""
    root, prefix = getattr(dataset, 'data_root', None), getattr(dataset, 'data_prefix', None)
    folders = [root] if root else list(prefix.values()) if isinstance(prefix, dict) else [prefix]
    yield from (folder for folder in folders if isinstance(folder, str) and folder)
    for inner in (getattr(dataset, 'dataset', None), *(getattr(dataset, 'datasets', None) or ())):
        if inner is not None:
            yield from _roots(inner)
