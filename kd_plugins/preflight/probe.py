"""A small batch that looks like the config's data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DATASETS, FUNCTIONS, TRANSFORMS

from kd_plugins.errors import describe_error
from kd_plugins.preflight.shapes import Shape, shape_of

# height and width of the made-up images; they come several times because a pipeline may draw its sizes at random
SIZES = ((256, 256), (320, 224), (256, 256), (320, 224), (256, 256), (320, 224))
SAMPLES = 2


@dataclass(frozen=True)
class Batch:
    """Two samples.

    Attributes:
        data: Collated, ready for the model's data_preprocessor.
        made_up: Whether the images were made up.
        metainfo: Of the data set, such as its classes; empty for made-up images.
    """

    data: Any
    made_up: bool
    metainfo: Mapping[str, Any] = field(default_factory=dict)


def probe_batches(config: Any, loader: str = 'train_dataloader') -> Iterator[Batch]:
    """Batches of two samples as a pipeline of a config gives them, the cheaper one first.

    First made-up colour images, where the pipeline gives all images one size; no data is looked at for them. Then the
    first two samples of the data set, which may lie anywhere or nowhere yet.

    Args:
        config: The whole config; transforms and data set are built in the current default scope.
        loader: Key of the data loader.

    Yields:
        At most two batches, none where there are no samples to be had.
    """
    parts = config.get(loader) or {}
    dataset, collate = parts.get('dataset'), parts.get('collate_fn')
    pipeline = pipeline_of(dataset)
    made_up = _attempt(lambda: list(_made_up(pipeline)) if pipeline is not None else [])
    if len({str(_shape_of_inputs(sample)) for sample in made_up}) == 1:
        data = _collate(made_up[:SAMPLES], collate)
        if data is not None:
            yield Batch(data, made_up=True)
    yield from real_batches(config, loader)


def real_batches(config: Any, loader: str) -> Iterator[Batch]:
    """The last of :func:`probe_batches`: the first two samples of the data set, where there are any."""
    parts = config.get(loader) or {}
    built: list[Any] = []
    data = _collate(_attempt(lambda: _first(parts.get('dataset'), built)), parts.get('collate_fn'))
    if data is not None:
        yield Batch(data, made_up=False, metainfo=getattr(built[0], 'metainfo', None) or {})


def probe_batch(config: Any, loader: str = 'train_dataloader') -> Any:
    """The data of the first batch of :func:`probe_batches`; None where there is none."""
    return next((batch.data for batch in probe_batches(config, loader)), None)


def why_no_samples(config: Any) -> str:
    """What the training data of a config raise when they are asked for samples; empty where they give some.

    Args:
        config: The whole config; the data set is built in the current default scope.
    """
    try:
        _first((config.get('train_dataloader') or {}).get('dataset'), [])
    except Exception as error:
        return describe_error(error, 200)
    return ''


def pipeline_of(dataset: Any) -> list[dict[str, Any]] | None:
    """The pipeline in the config of a data set; of several below a wrapper, the first one's.

    Args:
        dataset: Config of the data set.
    """
    while isinstance(dataset, dict) and 'pipeline' not in dataset:
        inner = dataset.get('dataset', dataset.get('datasets'))
        dataset = inner[0] if isinstance(inner, (list, tuple)) and inner else inner
    return dataset.get('pipeline') if isinstance(dataset, dict) else None


def loads_images(config: Any, loader: str) -> bool:
    """Whether the pipeline of a data loader loads images from files, as mmcv does: BGR.

    Others get arrays of the data set, which are RGB in mmpretrain's.

    Args:
        config: The whole config.
        loader: Key of the data loader.
    """
    steps = pipeline_of((config.get(loader) or {}).get('dataset')) or []
    names = (getattr(step.get('type'), '__name__', str(step.get('type'))) for step in steps)
    return any(name.rpartition('.')[2].startswith('LoadImage') for name in names)


def _collate(samples: list[Any], collate: Any) -> Any:
    """Make a batch as the data loader does; None where there is nothing to make it of, or its function cannot."""
    if not samples:
        return None
    function: Any = collate if callable(collate) else pseudo_collate
    try:
        if isinstance(collate, dict):
            kind: Any = collate.get('type')
            found: Any = FUNCTIONS.get(kind) if isinstance(kind, str) else kind
            function = partial(found, **{key: value for key, value in collate.items() if key != 'type'})
        return function(samples)
    except Exception:
        return None


def _attempt(take: Callable[[], list[Any]]) -> list[Any]:
    """Samples, or none where they need more than is here: what is wrong then, the data set itself says later."""
    try:
        samples = take()
    except Exception:
        return []
    return samples if all(isinstance(sample, (dict, tuple, list)) for sample in samples) else []


def _shape_of_inputs(sample: Any) -> Shape:
    return shape_of(sample.get('inputs') if isinstance(sample, dict) else sample[0])


def _made_up(pipeline: list[dict[str, Any]]) -> Iterator[Any]:
    steps = [step for step in pipeline if not str(step.get('type', '')).split('.')[-1].startswith('Load')]
    transform = Compose([TRANSFORMS.build(step) for step in steps])
    for label, size in enumerate(SIZES):
        pixels = np.random.randint(0, 256, (*size, 3), dtype=np.uint8)
        yield transform(
            dict(img=pixels, img_shape=size, ori_shape=size, gt_label=label % SAMPLES, sample_idx=label, img_path='')
        )


def _first(dataset: Any, kept: list[Any]) -> list[Any]:
    built = DATASETS.build(dataset)
    kept.append(built)
    return [built[index % len(built)] for index in range(SAMPLES)]
