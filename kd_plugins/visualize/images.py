"""An image as the models of a config see it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import TRANSFORMS, DefaultScope
from torch import Tensor

from kd_plugins.build import FALLBACK_SCOPE
from kd_plugins.engine.prediction_images_hook import as_picture
from kd_plugins.errors import Fault, UserError, describe_error
from kd_plugins.preflight import pipeline_of

LOADERS = ('test_dataloader', 'val_dataloader', 'train_dataloader')


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

    Where the pipeline loads no file, the data set delivers arrays, which are taken to be RGB like mmpretrain's, and so
    is what the file is read as. An image keeps its size unless the pipeline resizes it.

    Args:
        config: The whole config.
        path: The file.

    Raises:
        UserError: There is no such file, no pipeline for it, or the pipeline cannot take it or packs no image.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(Fault('IMAGE', 'an image file', f'{path}, which does not exist', 'correct the path'))
    where = next((name for name in LOADERS if config.get(name)), LOADERS[0])
    loader = config.get(where) or {}
    steps = [step for step in pipeline_of(loader.get('dataset')) or [] if not _is_annotation(step)]
    if not steps:
        raise UserError(Fault(where, 'a data set with a pipeline', 'none', 'add one'))
    loads = any(_name(step).startswith('Load') for step in steps)
    try:
        with DefaultScope.overwrite_default_scope(config.get('default_scope') or FALLBACK_SCOPE):
            transform = Compose([TRANSFORMS.build(step) for step in steps])
            source = dict(img_path=str(path), img_id=0) if loads else dict(img=_read_rgb(path))
            sample = transform(dict(source, sample_idx=0))
    except Exception as error:
        # whatever a transform of the user's raises at this file
        advice = 'give an image that the test pipeline of the config takes'
        raise UserError(Fault('IMAGE', 'an image', f'{path} ({describe_error(error, 200)})', advice)) from error
    inputs = sample.get('inputs') if isinstance(sample, dict) else None
    if not isinstance(inputs, Tensor) or inputs.dim() != 3:
        expected = 'a pipeline that packs one image, (C, H, W), as inputs'
        got = f'{_describe(inputs)} for {path}'
        raise UserError(Fault(f'{where}.dataset.pipeline', expected, got, 'let it end with PackInputs or its like'))
    return Prepared(path.stem, as_picture(inputs, bgr=loads), pseudo_collate([sample]))


def _is_annotation(step: Any) -> bool:
    return _name(step).startswith('Load') and 'Annotation' in _name(step)


def _name(step: Any) -> str:
    kind = step.get('type', '')
    return kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__


def _describe(inputs: Any) -> str:
    if isinstance(inputs, Tensor):
        return f'inputs {tuple(inputs.shape)}'
    return 'no inputs' if inputs is None else f'inputs that are a {type(inputs).__name__}'


def _read_rgb(path: Path) -> np.ndarray:
    return mmcv.bgr2rgb(LoadImageFromFile()(dict(img_path=str(path)))['img'])
