"""A made-up batch comes out of the config's own pipeline."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from kd_plugins.engine.config import load_config
from kd_plugins.preflight.probe import probe_batch

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.mark.parametrize(
    ('config', 'size'),
    [
        ('kd/kd_logits_resnet34_resnet18_8xb32_in1k.py', 224),
        ('kd/kd_logits_resnet34_resnet18_8xb16_cifar10.py', 32),
        ('quickstart/student_resnet18_digits.py', 32),
    ],
)
def test_has_the_size_of_the_training_images(config, size):
    batch = probe_batch(load_config(CONFIGS / config))
    assert [image.shape for image in batch['inputs']] == [(3, size, size)] * 2
    assert [int(sample.gt_label) for sample in batch['data_samples']] == [0, 1]


def test_looks_into_wrapped_data_sets():
    pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=16), dict(type='PackInputs')]
    inner = dict(type='RepeatDataset', times=2, dataset=dict(type='CustomDataset', pipeline=pipeline))
    batch = probe_batch(dict(train_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=[inner]))))
    assert batch['inputs'][0].dtype == torch.uint8
    assert batch['inputs'][0].shape == (3, 16, 16)


@pytest.mark.parametrize(
    'config',
    [
        {},
        dict(train_dataloader=dict(dataset=dict(type='CustomDataset'))),
        dict(train_dataloader=dict(dataset=dict(pipeline=[dict(type='Collect', keys=['boxes'])]))),
    ],
)
def test_gives_up_where_more_than_an_image_is_needed(config):
    assert probe_batch(config) is None
