"""Data sets in their true file formats, small, and checkpoints to go with them."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmpretrain import get_model
from mmpretrain.datasets import CIFAR10

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope='session')
def imagenet_root(tmp_path_factory):
    """ImageNet's own layout: JPEG files in a folder a class, and the lists of meta/ that mmpretrain reads."""
    root = tmp_path_factory.mktemp('imagenet')
    random = np.random.default_rng(0)
    for split, count in (('train', 8), ('val', 4)):
        lines = []
        for index in range(count):
            name = f'n{index % 4:08d}/{split}_{index:08d}.JPEG'
            path = root / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), random.integers(0, 256, (280, 260 + index, 3), dtype=np.uint8))
            lines.append(f'{name} {index % 4}')
        (root / 'meta').mkdir(exist_ok=True)
        (root / 'meta' / f'{split}.txt').write_text('\n'.join(lines) + '\n')
    return root


@pytest.fixture
def cifar10_root(tmp_path, monkeypatch):
    """CIFAR-10's own files, with few images; mmpretrain is told not to expect the checksums of the real ones."""
    root = tmp_path / 'cifar10'
    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, _ in CIFAR10.train_list + CIFAR10.test_list:
        batch = {
            'batch_label': name,
            'labels': [index % 10 for index in range(2)],
            'data': random.integers(0, 256, (2, 3072), dtype=np.uint8),
            'filenames': [f'{index}.png' for index in range(2)],
        }
        (folder / name).write_bytes(pickle.dumps(batch))
    for attribute in ('train_list', 'test_list'):
        monkeypatch.setattr(CIFAR10, attribute, [[name, None] for name, _ in getattr(CIFAR10, attribute)])
    return root


@pytest.fixture(scope='session')
def random_checkpoint(tmp_path_factory):
    """Writes checkpoints of mmpretrain models with random weights, one file a model."""
    folder = tmp_path_factory.mktemp('checkpoints')

    def write(name: str) -> Path:
        path = folder / f'{name}.pth'
        if not path.exists():
            torch.manual_seed(0)
            torch.save({'state_dict': get_model(name).state_dict(), 'meta': {}}, path)
        return path

    return write
