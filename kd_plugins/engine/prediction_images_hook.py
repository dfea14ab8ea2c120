"""Pictures of test images with what was predicted for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from torch import Tensor

# the text of smaller ones cannot be read
SHORT_EDGE = 224


class PredictionImagesHook(Hook):
    """Draws test images with their labels and predictions, in one file each, ``<number>_<name of the file>.png``.

    mmpretrain's ``VisualizationHook`` exchanges red and blue of images that are loaded from files, gives files of one
    name in two folders one picture, and cannot draw several views of an image.

    Args:
        folder: Where they go; it is created.
        interval: Draw every N-th image.
        bgr: Whether three channels are blue, green and red, as mmcv loads files.
        several_views: Whether the test takes several views of an image, of which the first is drawn.
    """

    def __init__(self, folder: Path, interval: int, bgr: bool, several_views: bool) -> None:
        self.folder = folder
        self.interval = interval
        self.bgr = bgr
        self.several_views = several_views
        self.seen = 0

    def after_test_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        """Draw those of a batch whose turn it is; of several processes the first draws what it has."""
        inputs = data_batch['inputs'][0] if self.several_views else data_batch['inputs']
        for pixels, sample in zip(inputs, outputs or (), strict=True):
            number = self.seen
            self.seen += 1
            if number % self.interval:
                continue
            picture = as_picture(pixels, self.bgr)
            name = Path(str(sample.get('img_path') or 'image')).stem
            path = self.folder / f'{sample.get("sample_idx", number):06d}_{name}.png'
            small = min(picture.shape[:2]) < SHORT_EDGE
            runner.visualizer.visualize_cls(
                picture, sample, resize=SHORT_EDGE if small else None, out_file=str(path), name=name
            )


def as_picture(pixels: Tensor, bgr: bool) -> np.ndarray:
    """What a pipeline packs, as it is shown: (C, H, W) -> (H, W, 3), RGB from 0 to 255.

    Args:
        pixels: Colours or grey; the range of other types than uint8 is stretched to that of bytes.
        bgr: Whether three channels are blue, green and red.
    """
    found = pixels.cpu().numpy()
    if found.dtype != np.uint8:
        low, high = float(found.min()), float(found.max())
        found = (found - low) * (255 / max(high - low, 1e-12))
    if len(found) != 3:
        found = np.repeat(found[:1], 3, 0)
    elif bgr:
        found = found[::-1]
    return np.ascontiguousarray(found.transpose(1, 2, 0)).astype(np.uint8)
