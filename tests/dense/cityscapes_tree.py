"""A small data set in Cityscapes' own format: images and label maps in folders by split and city."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

IGNORED = 255


def write_cityscapes(root: Path, classes: int = 19, images: int = 4, size: tuple[int, int] = (128, 64)) -> Path:
    """Write ``leftImg8bit`` and ``gtFine``, whose ``labelTrainIds`` hold a class for each pixel, or 255.

    Args:
        root: Folder of the data set.
        classes: How many occur.
        images: In each of train and val.
        size: Width and height in pixels.

    Returns:
        ``root``.
    """
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (IGNORED + 1, 3), dtype=np.uint8)
    for split, city in (('train', 'aachen'), ('val', 'frankfurt')):
        for number in range(images):
            name = f'{city}_{number:06}_000019'
            # stripes of a class each, and a rim that nobody has labelled
            labels = np.tile((np.arange(size[0]) * classes // size[0] + number) % classes, (size[1], 1)).astype(
                np.uint8
            )
            pixels = colours[labels] // 2 + random.integers(0, 60, (*labels.shape, 3), dtype=np.uint8)
            labels[:2] = IGNORED
            for folder, suffix, content in (
                ('leftImg8bit', 'leftImg8bit', pixels),
                ('gtFine', 'gtFine_labelTrainIds', labels),
            ):
                path = root / folder / split / city / f'{name}_{suffix}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), content)
    return root
