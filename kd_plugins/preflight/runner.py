"""Does the run have a runner that keeps what is promised of it?"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from kd_plugins.build import bare_name, is_registered, registered_names
from kd_plugins.errors import Fault, closest
from kd_plugins.registry import SCOPE

DISTRIBUTED = 'bash tools/dist_train.sh CONFIG GPUS'
# what does here what a strategy of mmengine does there
INSTEAD = {
    'SingleDeviceStrategy': 'python tools/train.py CONFIG trains on one device',
    'DDPStrategy': f'{DISTRIBUTED} trains with DistributedDataParallel, whose arguments are in model_wrapper_cfg',
    'FSDPStrategy': f'model.teacher_forward=dict(shard=True) shards the frozen teacher, and {DISTRIBUTED} starts the '
    'processes; the student is not sharded',
}
OTHERWISE = f'{DISTRIBUTED} trains with DistributedDataParallel, and --amp in half precision'


def runner_faults(config: Any) -> list[Fault]:
    """Look for a runner that this package cannot train with, such as ``FlexibleRunner``, and for its strategy.

    Loops, hooks and checkpoints here are made for mmengine's ``Runner``. ``FlexibleRunner`` does not derive from it:
    its strategies build, wrap, save and resume the model by themselves.

    Args:
        config: The whole config.

    Returns:
        At most one fault, for both keys belong together.
    """
    written, strategy = config.get('runner_type'), config.get('strategy')
    has_strategy = isinstance(strategy, Mapping) and 'type' in strategy
    name = bare_name(strategy['type']) if has_strategy else ''
    advice = (
        f'remove {"runner_type and strategy" if written and has_strategy else "it"}; {INSTEAD.get(name, OTHERWISE)}'
    )
    if written is not None:
        kind = _find(written)
        if kind is None:
            return [Fault('runner_type', 'a registered runner', repr(written), _closest(written))]
        if not issubclass(kind, Runner):
            got = f'{kind.__name__}{f" with {name}" if has_strategy else ""}'
            return [Fault('runner_type', "mmengine's Runner, or a class that derives from it", got, advice)]
    if has_strategy:
        return [Fault('strategy', 'none, for Runner does not read it', name, advice)]
    return []


def runner_warnings(config: Any) -> list[Fault]:
    """Look for a runner of the user's that derives from mmengine's instead of ours.

    Args:
        config: The whole config.
    """
    written = config.get('runner_type')
    kind = None if written is None else _find(written)
    if kind in (None, Runner) or not issubclass(kind, Runner):
        return []  # what is none of them is a fault
    if any(base.__module__.partition('.')[0] == SCOPE for base in kind.__mro__):
        return []
    expected = 'a runner with which --resume is exact and checkpoints are written whole'
    advice = 'derive it from kd_plugins.engine.resume.ResumableRunner'
    return [Fault('runner_type', expected, f'{kind.__name__}, which lacks both', advice)]


def _find(written: Any) -> Any:
    kind = RUNNERS.get(written) if isinstance(written, str) and is_registered(RUNNERS, written) else written
    return kind if inspect.isclass(kind) else None


def _closest(written: Any) -> str:
    return closest(str(written), registered_names(RUNNERS.name, 'mmengine') - {'FlexibleRunner'})
