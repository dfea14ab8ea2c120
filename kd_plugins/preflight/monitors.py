"""Are the metrics that hooks and schedules wait for among those of the validation?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from kd_plugins.build import bare_name
from kd_plugins.errors import Fault, closest, join_path

PLATEAU = 'ReduceOnPlateau'
# none of their hooks adds a metric to those of a validation
LIBRARIES = ('kd_plugins', 'mmengine', 'mmpretrain', 'mmdet', 'mmseg')


def monitor_faults(config: Any, names: Sequence[str]) -> list[Fault]:
    """Compare the metrics that a config monitors with those that a validation gives.

    Args:
        config: The whole config.
        names: Of the metrics of a validation.

    Returns:
        A fault per metric that will not be there, unless a hook of the user's may add it, and for a best checkpoint by
        a metric of which nobody knows the rule.
    """
    faults = []
    may_grow = any(map(_may_add_metrics, config.get('custom_hooks') or ()))
    for where, name in _monitored(config):
        if name == 'auto':
            faults += _rule_faults(config, where, names[:1])
        elif name not in names and not may_grow:
            faults.append(Fault(where, 'a metric of the validation', repr(name), closest(name, names)))
    return faults


def _monitored(config: Any) -> Iterator[tuple[str, str]]:
    for where, hook in _hooks(config):
        best = hook.get('save_best')
        if isinstance(best, str):
            yield join_path(where, 'save_best'), best
        elif isinstance(best, (list, tuple)):
            yield from ((join_path(where, 'save_best', str(index)), name) for index, name in enumerate(best))
        if bare_name(hook.get('type')).endswith('EarlyStoppingHook') and isinstance(hook.get('monitor'), str):
            yield join_path(where, 'monitor'), hook['monitor']
    schedules = config.get('param_scheduler')
    single = isinstance(schedules, dict)
    for index, schedule in enumerate([schedules] if single else schedules or ()):
        if isinstance(schedule, dict) and bare_name(schedule.get('type')).startswith(PLATEAU):
            where = 'param_scheduler' if single else f'param_scheduler.{index}'
            # mmengine's own default is a name that no metric of OpenMMLab has
            yield join_path(where, 'monitor'), str(schedule.get('monitor', 'loss'))


def _may_add_metrics(hook: Any) -> bool:
    """Whether a hook is called with the metrics of a validation and is of no known library."""
    kind = hook.get('type') if isinstance(hook, dict) else type(hook)
    kind = HOOKS.get(kind) if isinstance(kind, str) else kind
    method = getattr(kind, 'after_val_epoch', Hook.after_val_epoch)
    return not str(getattr(method, '__module__', '')).startswith(LIBRARIES)


def _hooks(config: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    named = config.get('default_hooks') or {}
    listed = config.get('custom_hooks') or []
    for where, hook in [
        *((f'default_hooks.{name}', hook) for name, hook in named.items()),
        *((f'custom_hooks.{index}', hook) for index, hook in enumerate(listed)),
    ]:
        if isinstance(hook, dict):
            yield where, hook


def _rule_faults(config: Any, where: str, first: Sequence[str]) -> list[Fault]:
    """``save_best='auto'`` takes the first metric, whose name has to say whether more of it is better."""
    place = where.rpartition('.save_best')[0]
    hook = dict(_hooks(config))[place]
    for name in first:
        try:
            HOOKS.build({'type': 'CheckpointHook', **hook, 'save_best': name})
        except ValueError:
            got = f"none, for {name!r}, which save_best='auto' takes"
            advice = "write rule='greater' or rule='less'"
            return [Fault(join_path(place, 'rule'), 'whether more of the metric is better', got, advice)]
        except Exception:
            return []  # what else is wrong with the hook, its own build says
    return []
