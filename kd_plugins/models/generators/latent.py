"""The noise that a generator begins with, and the size that its feature maps begin with."""

from __future__ import annotations

from typing import Any

import torch

from kd_plugins.errors import Fault, UserError


def latent_batch(data: torch.Tensor | None, batch_size: int, latent_dim: int, weight: torch.Tensor) -> torch.Tensor:
    """Noise as it was given, or standard normal noise where none was.

    Args:
        data: Noise, (N, latent_dim), or None.
        batch_size: N where there is none.
        latent_dim: Numbers for each image.
        weight: The generator's first weight, whose device the noise goes to; drawn noise has its dtype, too.

    Returns:
        (N, latent_dim)

    Raises:
        UserError: ``data`` has another shape, or ``batch_size`` is no whole number above 0.
    """
    if data is None:
        _require_whole('batch_size', batch_size, 1)
        return torch.randn(batch_size, latent_dim, dtype=weight.dtype, device=weight.device)
    if not isinstance(data, torch.Tensor) or data.dim() != 2 or data.shape[1] != latent_dim:
        got = str(tuple(data.shape)) if isinstance(data, torch.Tensor) else f'a {type(data).__name__}'
        raise UserError(Fault('data', f'noise of shape (N, {latent_dim})', got, 'leave it out to have it drawn'))
    return data.to(weight.device)


def first_size(img_size: int, latent_dim: int, hidden_channels: int, scale_factor: int) -> int:
    """Height and width of the map that a generator scales up twice, in pixels.

    Args:
        img_size: Height and width of the images, in pixels.
        latent_dim: Numbers for each image.
        hidden_channels: Channels of the first map; the last one has half of them.
        scale_factor: Scale of each of both steps.

    Raises:
        UserError: One of them is no whole number or too small, or the steps do not lead to ``img_size``.
    """
    _require_whole('latent_dim', latent_dim, 1)
    _require_whole('hidden_channels', hidden_channels, 2)
    _require_whole('scale_factor', scale_factor, 1)
    _require_whole('img_size', img_size, 1)
    size, rest = divmod(img_size, scale_factor**2)
    if rest:
        expected = f'a multiple of {scale_factor**2}, for it is scaled by {scale_factor} twice'
        raise UserError(Fault('img_size', expected, str(img_size), 'choose another size or scale_factor'))
    return size


def _require_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(Fault(name, f'a whole number from {least} on', repr(value), 'choose another'))
