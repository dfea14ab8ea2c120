"""Do the processes draw random numbers of their own where they must?"""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModel

from kd_plugins.algorithms import DataFreeDistillation
from kd_plugins.errors import Fault


def seed_faults(config: Any, model: BaseModel) -> list[Fault]:
    """Look whether several processes would imagine the same images, which mmengine seeds alike.

    Args:
        config: The whole config.
        model: Its algorithm.
    """
    own = (config.get('randomness') or {}).get('diff_rank_seed')
    if own or config.get('launcher', 'none') == 'none' or not isinstance(model, DataFreeDistillation):
        return []
    expected = 'True, as several processes imagine the same images otherwise'
    advice = 'write randomness=dict(diff_rank_seed=True)'
    return [Fault('randomness.diff_rank_seed', expected, repr(own), advice)]
