"""A batch that looks like the config's data, made without reading any."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import TRANSFORMS

IMAGE_SIZE = 256
SAMPLES = 2


def probe_batch(config: Any) -> dict[str, Any] | None:
    """Send random images through the training pipeline of a config.

    Args:
        config: The whole config; its transforms are built in the current default scope.

    Returns:
        A collated batch of two samples, ready for the model's data_preprocessor; None where the pipeline needs more
        than an image and a label.
    """
    pipeline = pipeline_of((config.get('train_dataloader') or {}).get('dataset'))
    if pipeline is None:
        return None
    try:
        steps = [step for step in pipeline if not str(step.get('type', '')).split('.')[-1].startswith('Load')]
        transform = Compose([TRANSFORMS.build(step) for step in steps])
        samples = [transform(_sample(index)) for index in range(SAMPLES)]
    except Exception:
        # a pipeline that needs more than this is none of our business, whatever it raises
        return None
    return pseudo_collate(samples) if all(isinstance(sample, dict) for sample in samples) else None


def pipeline_of(dataset: Any) -> list[dict[str, Any]] | None:
    """The pipeline in the config of a data set; of several below a wrapper, the first one's.

    Args:
        dataset: Config of the data set.
    """
    while isinstance(dataset, dict) and 'pipeline' not in dataset:
        inner = dataset.get('dataset', dataset.get('datasets'))
        dataset = inner[0] if isinstance(inner, (list, tuple)) and inner else inner
    return dataset.get('pipeline') if isinstance(dataset, dict) else None


def _sample(label: int) -> dict[str, Any]:
    pixels = np.random.randint(0, 256, (IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    shape = (IMAGE_SIZE, IMAGE_SIZE)
    return dict(img=pixels, img_shape=shape, ori_shape=shape, gt_label=label, sample_idx=label, img_path='')
