"""The parts of a step: their names, that each runs, and that none changes what the others see."""

from pathlib import Path

import pytest
import torch

from kd_plugins.benchmark.setting import Setting
from kd_plugins.benchmark.split import parts_of_step
from kd_plugins.benchmark.work import flops_of_step
from kd_plugins.benchmark.workload import Workload

METHODS = Path(__file__).parents[2] / 'configs/quickstart/methods'


def test_parts_of_logits(digits):
    assert list(parts_of_step(digits)) == ['data', 'teacher', 'student', 'loss_kl', 'optimiser', 'step']


@pytest.mark.slow
def test_parts_of_hints(hints):
    parts = parts_of_step(hints)
    names = ['data', 'teacher', 'student', 'connectors', 'loss_s4', 'loss_s3', 'loss_kl', 'optimiser', 'step']
    assert sorted(parts) == sorted(names)
    assert list(parts)[-1] == 'step'
    for _ in range(2):
        for part in parts.values():
            part()


def test_parts_do_the_arithmetic_of_the_step(digits):
    """Convolutions and matrix products of the parts are those of the whole step: nothing is left out or done twice."""
    parts = parts_of_step(digits)
    for part in parts.values():
        part()  # at its first run, a teacher looks how it can be run
    flops = {name: flops_of_step(part) for name, part in parts.items()}
    assert flops['teacher'] > 0
    assert flops['student'] > 0
    assert flops['data'] == flops['loss_kl'] == flops['optimiser'] == 0
    assert sum(flops.values()) == 2 * flops['step']


def test_flops_by_hand(digits):
    """The teacher's forward: 2 * 9 * in * out * pixels of each 3x3 convolution, halved twice, and the classifier."""
    by_hand = 2 * 9 * (3 * 64 * 64 + 64 * 64 * 64 + 64 * 128 * 16 + 128 * 128 * 16 + 128 * 256 * 4) + 2 * 256 * 10
    teacher = parts_of_step(digits)['teacher']
    teacher()
    assert flops_of_step(teacher) == 4 * by_hand


def test_flops_of_a_depthwise_convolution():
    layer, images = torch.nn.Conv2d(64, 64, 3, groups=64), torch.zeros(1, 64, 10, 10, requires_grad=True)
    assert flops_of_step(lambda: layer(images).sum().backward()) == 3 * 2 * 9 * 64 * 64


@pytest.mark.parametrize(
    ('method', 'names'),
    [
        ('multi_teacher_vgg_cnn_digits', {'teacher', 'student', 'optimiser'}),
        ('byot_vgg_cnn_digits', {'student', 'connectors', 'optimiser'}),
        ('ofd_vgg_cnn_digits', {'teacher', 'student', 'connectors', 'optimiser'}),
        ('crd_vgg_cnn_digits', {'teacher', 'student', 'connectors', 'optimiser'}),
        ('fbkd_vgg_cnn_digits', {'teacher', 'student', 'connectors', 'optimiser'}),
        ('dfad_vgg_cnn_digits', {'student', 'step'}),
    ],
)
def test_other_algorithms_have_parts_too(method, names):
    parts = parts_of_step(Workload(str(METHODS / f'{method}.py'), Setting(batch=4, size=8)))
    assert names <= set(parts)
    for part in parts.values():
        part()
