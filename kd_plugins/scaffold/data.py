"""The data sets that a new config can train on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CIFAR_BASES = (
    'mmpretrain::_base_/datasets/cifar10_bs16.py',
    'mmpretrain::_base_/schedules/cifar10_bs128.py',
    'mmpretrain::_base_/default_runtime.py',
)
IMAGENET_BASES = (
    'mmpretrain::_base_/datasets/imagenet_bs32.py',
    'mmpretrain::_base_/schedules/imagenet_bs256.py',
    'mmpretrain::_base_/default_runtime.py',
)


@dataclass(frozen=True)
class Dataset:
    """Images to train on.

    Attributes:
        title: For people.
        kind: Type of the data set in a config.
        classes: Number of classes; None where both models are taken as they are.
        sizes: Sides of the images, in pixels, to be tried from the first on; the last also where a model is made for
            one size. The images of ``bases`` have the first.
        bases: What a config inherits where the student's own does not train on these data; below ``configs/`` where
            no package is named.
        recipe: For which models the schedule of these was chosen.
        needs: What must be there before training.
    """

    title: str
    kind: str
    classes: int | None
    sizes: tuple[int, ...]
    bases: tuple[str, ...]
    recipe: str
    needs: str


DATASETS = {
    'imagenet': Dataset(
        title='ImageNet',
        kind='ImageNet',
        classes=1000,
        sizes=(224,),
        bases=IMAGENET_BASES,
        recipe="mmpretrain's for ResNets on ImageNet",
        needs='data/imagenet with the folders train/ and val/',
    ),
    'cifar10': Dataset(
        title='CIFAR-10',
        kind='CIFAR10',
        classes=10,
        sizes=(32,),
        bases=CIFAR_BASES,
        recipe="mmpretrain's for ResNets on CIFAR-10",
        needs='data/cifar10/cifar-10-batches-py (the official Python files)',
    ),
    'digits': Dataset(
        title="scikit-learn's handwritten digits",
        kind='kd_plugins.Digits',
        classes=10,
        sizes=(32, 64, 224),
        bases=('_base_/digits_resnet18_schedule.py',),
        recipe="the quickstart's for a ResNet-18, on 100 of the digits",
        needs='nothing (the images come with scikit-learn)',
    ),
}

# of the made-up images on which detectors and segmentors are looked at
DENSE_SIDE = 320


def training_data(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The data set that a config trains on, out of its wrappers; empty where it trains on none."""
    dataset = (config.get('train_dataloader') or {}).get('dataset') or {}
    while isinstance(dataset.get('dataset'), Mapping):
        dataset = dataset['dataset']
    return dataset


def own_data(config: Mapping[str, Any]) -> Dataset:
    """What a detector's or a segmentor's own config trains on.

    Args:
        config: The whole config.
    """
    dataset = training_data(config)
    return Dataset(
        title=str(dataset.get('type')),
        kind=str(dataset.get('type')),
        classes=None,
        sizes=(DENSE_SIDE,),
        bases=(),
        recipe='',
        needs=str(dataset.get('data_root')),
    )
