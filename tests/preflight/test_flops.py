"""Floating point operations, counted by the formula of the field: two for each weight and position."""

import pytest
import torch
from torch import nn

from kd_plugins.preflight.flops import flop_counter


@pytest.mark.parametrize(
    ('layer', 'forward'),
    [
        # 2 operations * 9 weights a channel * channels * 16*16 positions * 2 images
        (nn.Conv2d(64, 64, 3, groups=64, padding=1), 2 * 9 * 64 * 256 * 2),
        (nn.Conv2d(64, 32, 3, groups=4, padding=1), 2 * 9 * 16 * 32 * 256 * 2),
        (nn.Conv2d(64, 32, 3, padding=1), 2 * 9 * 64 * 32 * 256 * 2),
        (nn.Conv2d(64, 32, 1, stride=2), 2 * 64 * 32 * 64 * 2),
        # each of the 16*16 positions that go in meets all weights
        (nn.ConvTranspose2d(64, 32, 2, stride=2, groups=4), 2 * 4 * 64 * 8 * 256 * 2),
    ],
)
def test_a_backward_is_two_forwards(layer, forward):
    images = torch.zeros(2, 64, 16, 16, requires_grad=True)
    with flop_counter() as counter:
        output = layer(images)
    assert counter.get_total_flops() == forward
    with flop_counter() as counter:
        output.sum().backward()
    assert counter.get_total_flops() == 2 * forward

    # of an image no gradient is asked for
    output = layer(images.detach())
    with flop_counter() as counter:
        output.sum().backward()
    assert counter.get_total_flops() == forward
