"""The feature map that a connector was built for, and the message for when it gets another one."""

from __future__ import annotations

import torch

from kd_plugins.arguments import require_rank
from kd_plugins.errors import Fault, UserError


def require_feature_map(feature: torch.Tensor, channels: int, advice: str = 'correct the channels') -> None:
    """Refuse what is not a feature map with as many channels as a connector takes.

    Args:
        feature: What came in, to be (N, channels, H, W).
        channels: Number of channels that the connector was built for.
        advice: What to do where the number of channels is another one.

    Raises:
        UserError: ``feature`` is no map, or has another number of channels.
    """
    expected = f'a map (N, {channels}, H, W)'
    require_rank('feature', feature, [4], expected, 'bring tokens to a map before')
    if feature.shape[1] != channels:
        raise UserError(Fault('feature', expected, str(tuple(feature.shape)), advice))
