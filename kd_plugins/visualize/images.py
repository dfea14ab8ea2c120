"""An image as the models of a config see it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import TRANSFORMS, DefaultScope

from kd_plugins.build import FALLBACK_SCOPE
from kd_plugins.errors import Fault, UserError, describe_error
from kd_plugins.preflight import pipeline_of


@dataclass(frozen=True)
class Prepared:
    """An image after the test pipeline.

    Attributes:
        name: Of the file, without its suffix.
        pixels: (H, W, 3), RGB from 0 to 255.
        batch: The image alone, ready for the data_preprocessor.
    """

    name: str
    pixels: np.ndarray
    batch: Any


def prepare_image(config: Any, path: str | Path) -> Prepared:
    """Send an image file through the test pipeline of a config; its annotations are not looked for.

    Args:
        config: The whole config.
        path: The file.

    Raises:
        UserError: There is no such file, no pipeline for it, or the pipeline cannot take it.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(Fault('IMAGE', 'an image file', f'{path}, which does not exist', 'correct the path'))
    loader = config.get('test_dataloader') or config.get('val_dataloader') or config.get('train_dataloader') or {}
    steps = [step for step in pipeline_of(loader.get('dataset')) or [] if not _is_annotation(step)]
    if not steps:
        raise UserError(Fault('test_dataloader', 'a data set with a pipeline', 'none', 'add one'))
    if not _name(steps[0]).startswith('Load'):
        steps = [dict(type='LoadImageFromFile'), *steps]
    try:
        with DefaultScope.overwrite_default_scope(config.get('default_scope') or FALLBACK_SCOPE):
            transform = Compose([TRANSFORMS.build(step) for step in steps])
            sample = transform(dict(img_path=str(path), img_id=0, sample_idx=0))
    except Exception as error:
        # whatever a transform of the user's raises at this file
        advice = 'give an image that the test pipeline of the config takes'
        raise UserError(Fault('IMAGE', 'an image', f'{path} ({describe_error(error, 200)})', advice)) from error
    return Prepared(path.stem, _as_picture(sample['inputs']), pseudo_collate([sample]))


def _is_annotation(step: Any) -> bool:
    return _name(step).startswith('Load') and 'Annotation' in _name(step)


def _name(step: Any) -> str:
    kind = step.get('type', '')
    return kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__


def _as_picture(inputs: Any) -> np.ndarray:
    """(C, H, W), BGR or grey -> (H, W, 3), RGB."""
    pixels = np.asarray(inputs)
    if pixels.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = (pixels - low) * (255 / max(high - low, 1e-12))
    pixels = pixels[::-1] if len(pixels) == 3 else np.repeat(pixels[:1], 3, 0)
    return pixels.transpose(1, 2, 0).astype(np.uint8)
