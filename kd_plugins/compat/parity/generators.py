"""Cases of the generators of data-free distillation."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import nn

from kd_plugins.compat.parity.case import Case, MakeInputs

SIZES: tuple[dict[str, Any], ...] = (
    dict(img_size=8, latent_dim=5, hidden_channels=4),
    dict(img_size=32, latent_dim=16, hidden_channels=7),
    dict(img_size=18, latent_dim=1, hidden_channels=2, scale_factor=3, leaky_slope=0.01),
)


def noise(batch_size: int, latent_dim: int) -> MakeInputs:
    """Maker of noise."""

    def make(dtype: torch.dtype) -> tuple[Any, ...]:
        return (torch.randn(batch_size, latent_dim, dtype=torch.float64).to(dtype),)

    return make


def wear(generator: nn.Module) -> None:
    """Give the BatchNorms statistics, as training does, and weights that are not all 1."""
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.normal_(module.bias)


KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ('DAFLGenerator', {}),
    ('DAFLGenerator', {'bn_eps': 1e-3}),
    ('ZSKTGenerator', {}),
)

GENERATOR_CASES = [
    Case(
        component,
        noise(batch_size, options['latent_dim']),
        {**options, **more},
        label=f'batch of {batch_size}, {"train" if training else "eval"}',
        training=training,
        prepare=wear,
    )
    for (component, more), options, batch_size, training in product(KINDS, SIZES, (1, 6), (True, False))
]
