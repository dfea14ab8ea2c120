"""Can the teacher be sharded as the config asks?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseModel

from kd_plugins.distiller import DISTILLERS
from kd_plugins.errors import Fault
from kd_plugins.recorders import Parameter

KEY = 'teacher_forward.shard'


def process_faults(config: Any) -> list[Fault]:
    """Look whether there are processes to share a teacher's weights.

    Args:
        config: The whole config.
    """
    if not asks_for_shards(config) or config.get('launcher', 'none') != 'none':
        return []
    advice = 'run bash tools/dist_train.sh CONFIG GPUS, or remove shard'
    return [Fault(f'model.{KEY}', 'several processes, which share the weights', 'one', advice)]


def shard_faults(config: Any, model: BaseModel) -> list[Fault]:
    """Look for what a sharded teacher cannot be.

    Args:
        config: The whole config.
        model: Its algorithm.

    Returns:
        A fault for a teacher that learns, and for each recorder of a weight.
    """
    if not asks_for_shards(config):
        return []
    faults = []
    if config.model.get('teacher_trainable'):
        got = 'teacher_trainable=True'
        faults.append(Fault(f'model.{KEY}', 'a frozen teacher', got, 'remove one of the two'))
    for place in DISTILLERS:
        recorders: Any = getattr(getattr(model, place, None), 'teacher_recorders', None)
        for name, recorder in recorders.recorders.items() if recorders is not None else ():
            if isinstance(recorder, Parameter):
                expected = 'a recorder of what the sharded teacher computes'
                fault = Fault(
                    '', expected, f'the weight {recorder.source!r}, of which a process has a share', 'remove it'
                )
                faults.append(recorders.declared[name].blame(fault).within(f'model.{place}'))
    return faults


def asks_for_shards(config: Any) -> bool:
    """Whether a config has its teacher sharded."""
    settings = (config.get('model') or {}).get('teacher_forward')
    return isinstance(settings, Mapping) and settings.get('shard') is True
