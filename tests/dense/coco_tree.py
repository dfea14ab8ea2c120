"""A small data set in COCO's own format: images in folders, and instances with boxes and polygons in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

# ids of the 80 categories have gaps in COCO
GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
CATEGORY_IDS = [number for number in range(1, 91) if number not in GAPS]


def write_coco(root: Path, classes: tuple[str, ...], images: int = 4, size: tuple[int, int] = (160, 120)) -> Path:
    """Write ``train2017``, ``val2017`` and their ``annotations``.

    Args:
        root: Folder of the data set.
        classes: Names of the categories; where they are 80, they get COCO's ids.
        images: In each of the two.
        size: Width and height in pixels.

    Returns:
        ``root``.
    """
    random = np.random.default_rng(0)
    ids = CATEGORY_IDS if len(classes) == len(CATEGORY_IDS) else range(1, len(classes) + 1)
    categories = [dict(id=number, name=name, supercategory='thing') for number, name in zip(ids, classes, strict=True)]
    (root / 'annotations').mkdir(parents=True)
    for split in ('train2017', 'val2017'):
        (root / split).mkdir()
        listed, annotations = [], []
        for number in range(1, images + 1):
            name = f'{number:012}.jpg'
            pixels, boxes = _draw(random, size, 3)
            assert cv2.imwrite(str(root / split / name), pixels)
            listed.append(dict(id=number, file_name=name, width=size[0], height=size[1]))
            for (left, top, width, height), kind in boxes:
                corners = [left, top, left + width, top, left + width, top + height, left, top + height]
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        image_id=number,
                        category_id=categories[kind % len(categories)]['id'],
                        bbox=[left, top, width, height],
                        area=width * height,
                        segmentation=[corners],
                        iscrowd=0,
                    )
                )
        content = dict(info={}, licenses=[], images=listed, annotations=annotations, categories=categories)
        (root / 'annotations' / f'instances_{split}.json').write_text(json.dumps(content))
    return root


def _draw(random: np.random.Generator, size: tuple[int, int], count: int) -> tuple[np.ndarray, list]:
    """Filled rectangles on noise, whose colour follows from their kind."""
    width, height = size
    pixels = random.integers(0, 60, (height, width, 3), dtype=np.uint8)
    boxes = []
    for _ in range(count):
        kind = int(random.integers(0, 3))
        box_width, box_height = (int(random.integers(side // 4, side // 2)) for side in size)
        left, top = int(random.integers(0, width - box_width)), int(random.integers(0, height - box_height))
        pixels[top : top + box_height, left : left + box_width] = np.eye(3, dtype=np.uint8)[kind] * 200 + 40
        boxes.append(((left, top, box_width, box_height), kind))
    return pixels, boxes
