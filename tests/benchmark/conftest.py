"""A workload that takes milliseconds: two small CNNs on digits of 8x8 pixels."""

from pathlib import Path

import pytest

from kd_plugins.benchmark.setting import Setting
from kd_plugins.benchmark.workload import Workload

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.fixture(scope='session')
def digits():
    """KL at the logits of a CNN of five layers and one of three."""
    return Workload(str(CONFIGS / 'quickstart/kd_vgg_cnn_digits.py'), Setting(batch=4, size=8, rounds=1))


@pytest.fixture(scope='session')
def hints():
    """Hints at layer3 and layer4 and KL, of a ResNet-50 and a ResNet-18."""
    return Workload(
        str(CONFIGS / 'quickstart/fitnets_resnet50_resnet18_digits.py'), Setting(batch=4, size=32, rounds=1)
    )
