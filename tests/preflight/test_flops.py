"""Floating point operations, counted by the formula of the field: two for each weight and position."""

import pytest
import torch
import torch.nn.functional as F
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


def test_attention_is_counted_on_a_cpu():
    query, key, value = (torch.rand(2, 3, length, 16, requires_grad=True) for length in (50, 60, 60))
    with flop_counter() as counter:
        output = F.scaled_dot_product_attention(query, key, value)
    # two products of 50 x 16 x 60, in 2 images and 3 heads
    forward = 2 * (2 * 50 * 16 * 60) * 2 * 3
    assert counter.get_total_flops() == forward
    with flop_counter() as counter:
        output.sum().backward()
    # four of gradients, and one that is computed again
    assert counter.get_total_flops() == forward * 5 // 2
