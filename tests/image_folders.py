"""Small image folders as people have them, the usual ways to damage a file, and a config that trains on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

BASE = Path(__file__).parents[1] / 'configs' / '_base_' / 'digits.py'
CONFIG = """
_base_ = [{base!r}]
data_preprocessor = dict(num_classes=2)
model = dict(
    type='ImageClassifier',
    backbone=dict(type='kd_plugins.PlainCNN', stages=((4,),)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=4, topk=(1,)),
)
pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(16, 16)), dict(type='PackInputs')]
dataset = dict(_delete_=True, type='CustomDataset', data_root={root!r}, pipeline=pipeline)
loader = dict(batch_size=4, num_workers={workers}, dataset=dict(**dataset, data_prefix='val'))
train_dataloader = dict(loader, dataset=dict(**dataset, data_prefix='train'))
val_dataloader = loader
test_dataloader = loader
train_cfg = dict(by_epoch=True, max_epochs=2, val_interval=1)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
"""


def write_images(folder: Path, classes: tuple[str, ...] = ('cat', 'dog'), suffix: str = '.jpg', count: int = 6) -> Path:
    """A folder for each class, with ``count`` images each, named 0 to ``count - 1``."""
    random = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            pixels = random.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            assert cv2.imwrite(str(folder / name / f'{index}{suffix}'), pixels)
    return folder


def write_config(folder: Path, root: Path, workers: int = 0, more: str = '') -> Path:
    """A config that trains on ``root/train`` for two epochs and validates on ``root/val``."""
    path = folder / 'config.py'
    path.write_text(CONFIG.format(base=str(BASE), root=str(root), workers=workers) + more)
    return path


def damage(path: Path, how: str) -> Path:
    """Spoil a file: ``missing``, ``empty``, ``random``, ``half``, ``no end`` or ``zeros``."""
    content = path.read_bytes()
    half = len(content) // 2
    if how == 'missing':
        path.unlink()
        return path
    spoilt: dict[str, Any] = {
        'empty': b'',
        'random': np.random.default_rng(1).bytes(len(content)),
        'half': content[:half],
        'no end': content[:-20],
        # as a copy that was broken off leaves it on a sparse file
        'zeros': content[:half] + bytes(len(content) - half),
    }
    path.write_bytes(spoilt[how])
    return path
