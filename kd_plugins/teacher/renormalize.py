"""Images that were preprocessed for the student, as a teacher wants them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from kd_plugins.arguments import refuse_other_keys
from kd_plugins.errors import Fault, UserError, join_path

KEYS = ('mean', 'std', 'to_rgb')


class Renormalize(nn.Module):
    """Undoes the student's normalisation of images and applies another one.

    Both are affine, so mixed images (mixup, CutMix) stay mixed in the same way: student and teacher see one batch.

    Args:
        scale: Per channel.
        shift: Per channel, applied after the scale.
        swap: Reverse the order of the channels first: BGR to RGB or back.
    """

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, scale: torch.Tensor, shift: torch.Tensor, swap: bool) -> None:
        super().__init__()
        self.register_buffer('scale', scale.reshape(-1, 1, 1), persistent=False)
        self.register_buffer('shift', shift.reshape(-1, 1, 1), persistent=False)
        self.swap = swap

    @classmethod
    def between(cls, student: nn.Module | None, teacher: Any, where: str) -> Renormalize | None:
        """From the student's data preprocessor to the normalisation that a teacher was trained with.

        Args:
            student: The data preprocessor; None where it could not be built.
            teacher: Dict with ``mean`` and ``std`` per channel, in the teacher's order of channels and in the range of
                the stored images (0 to 255), and ``to_rgb``, False by default.
            where: Key path of ``teacher``.

        Raises:
            UserError: ``teacher`` is anything else.
        """
        if not isinstance(teacher, Mapping):
            advice = 'write dict(mean=[…], std=[…], to_rgb=True)'
            raise UserError(Fault(where, 'a dict with mean, std and to_rgb', repr(teacher), advice))
        refuse_other_keys(where, teacher, KEYS)
        if student is None:
            return None
        mean, std = (_per_channel(teacher, key, where) for key in ('mean', 'std'))
        own_mean, own_std = _statistics(student)
        # mmengine's preprocessors call it _channel_conversion, mmpretrain's to_rgb
        own_order = bool(getattr(student, 'to_rgb', False) or getattr(student, '_channel_conversion', False))
        swap = own_order != bool(teacher.get('to_rgb', False))
        if swap:
            own_mean, own_std = own_mean.flip(0), own_std.flip(0)
        return cls(own_std / std, (own_mean - mean) / std, swap)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Convert a batch.

        Args:
            images: (N, C, H, W) as the student gets them.

        Returns:
            (N, C, H, W) as the teacher was trained on them.
        """
        if self.swap:
            images = images.flip(1)
        return images * self.scale + self.shift


def _per_channel(config: Mapping[str, Any], key: str, where: str) -> torch.Tensor:
    values = config.get(key)
    listed = values if isinstance(values, (list, tuple)) else ()
    numbers = all(isinstance(value, (int, float)) for value in listed)
    if not numbers or len(listed) not in (1, 3) or (key == 'std' and 0 in listed):
        expected = 'a number per channel' + (', none of them 0' if key == 'std' else '')
        raise UserError(Fault(join_path(where, key), expected, repr(values), 'write it as the teacher was trained'))
    return torch.tensor(listed, dtype=torch.float32)


def _statistics(preprocessor: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation that a preprocessor of images normalises with; 0 and 1 where it does not."""
    mean, std = getattr(preprocessor, 'mean', None), getattr(preprocessor, 'std', None)
    if not isinstance(mean, torch.Tensor) or not isinstance(std, torch.Tensor):
        return torch.zeros(1), torch.ones(1)
    return mean.flatten().cpu(), std.flatten().cpu()
