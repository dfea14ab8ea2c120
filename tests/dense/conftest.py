"""Detectors and segmentors: what needs mmdet and mmseg is left out where they cannot be imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kd_plugins.errors import UserError
from kd_plugins.stack import DENSE, require_operators


@pytest.fixture(autouse=True, scope='session')
def _operators() -> None:
    try:
        for library in DENSE:
            require_operators(library, 'tests/dense')
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope='session')
def coco(_operators: None, tmp_path_factory: Any) -> Path:
    """A small COCO, with its 80 classes."""
    from coco_tree import write_coco
    from mmdet.datasets import CocoDataset

    return write_coco(tmp_path_factory.mktemp('data') / 'coco', CocoDataset.METAINFO['classes'])


@pytest.fixture(scope='session')
def cityscapes(_operators: None, tmp_path_factory: Any) -> Path:
    """A small Cityscapes, with its 19 classes."""
    from cityscapes_tree import write_cityscapes

    return write_cityscapes(tmp_path_factory.mktemp('data') / 'cityscapes')
