"""Blocks of which factor transfer builds its paraphraser and its translator.

Paper: Paraphrasing Complex Network: Network Compression via Factor Transfer, https://arxiv.org/abs/1802.04977
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn


def three_blocks(convolution: type[nn.Module], channels: tuple[int, int, int, int], use_bn: bool) -> nn.Sequential:
    """Three 3x3 convolutions of stride 1, each with a leaky ReLU and, if asked for, a BatchNorm between.

    Args:
        convolution: ``nn.Conv2d``, or ``nn.ConvTranspose2d``.
        channels: Channels before, between and after the convolutions.
        use_bn: Whether a BatchNorm follows each convolution.

    Returns:
        Nine modules, the convolutions at 0, 3 and 6, as in MMRazor's checkpoints.
    """
    blocks: list[nn.Module] = []
    for before, after in pairwise(channels):
        blocks += [
            convolution(before, after, kernel_size=3, stride=1, padding=1),
            nn.BatchNorm2d(after) if use_bn else nn.Identity(),
            nn.LeakyReLU(0.1, inplace=True),
        ]
    return nn.Sequential(*blocks)
