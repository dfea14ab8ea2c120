"""Do the types that the Runner builds exist?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry

from kd_plugins.build import advise_on_type, is_registered
from kd_plugins.errors import Fault, join_path

# which registry the parts of a config come from; [] goes into a list, * into the values of a dict
PLACES: dict[str, Registry] = {
    'optim_wrapper': mmengine_registry.OPTIM_WRAPPERS,
    'optim_wrapper.optimizer': mmengine_registry.OPTIMIZERS,
    'param_scheduler': mmengine_registry.PARAM_SCHEDULERS,
    'param_scheduler[]': mmengine_registry.PARAM_SCHEDULERS,
    'default_hooks.*': mmengine_registry.HOOKS,
    'custom_hooks[]': mmengine_registry.HOOKS,
    'train_cfg': mmengine_registry.LOOPS,
    'val_cfg': mmengine_registry.LOOPS,
    'test_cfg': mmengine_registry.LOOPS,
    'visualizer': mmengine_registry.VISUALIZERS,
}
for _evaluator in ('val_evaluator', 'test_evaluator'):
    # a metric, or an evaluator that has them
    for _place in (_evaluator, f'{_evaluator}[]', f'{_evaluator}.metrics', f'{_evaluator}.metrics[]'):
        PLACES[_place] = mmengine_registry.METRICS
for _loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
    PLACES[f'{_loader}.dataset'] = mmengine_registry.DATASETS
    PLACES[f'{_loader}.dataset.pipeline[]'] = mmengine_registry.TRANSFORMS
    PLACES[f'{_loader}.sampler'] = mmengine_registry.DATA_SAMPLERS


def type_faults(config: Any, scope: str) -> list[Fault]:
    """Look up the type of every part of a config that mmengine's Runner builds, the model excepted.

    Args:
        config: The whole config.
        scope: Its default scope.

    Returns:
        A fault per unknown type, with the name to write instead.
    """
    faults = []
    constructor = (config.get('optim_wrapper') or {}).get('constructor')
    if isinstance(constructor, str):
        root = mmengine_registry.OPTIM_WRAPPER_CONSTRUCTORS
        with root.switch_scope_and_registry(scope) as registry:
            if not is_registered(registry, constructor):
                advice = advise_on_type(root.name, scope, constructor)
                where = 'optim_wrapper.constructor'
                faults.append(Fault(where, f'a registered {root.name}', repr(constructor), advice))
    for place, of_place in PLACES.items():
        for where, part, inner in _parts(config, place.replace('[]', '.[]').split('.'), '', scope):
            has_metrics = of_place is mmengine_registry.METRICS and 'metrics' in part
            root = mmengine_registry.EVALUATOR if has_metrics else of_place
            name = part.get('type')
            with root.switch_scope_and_registry(inner) as registry:
                if isinstance(name, str) and not is_registered(registry, name):
                    advice = advise_on_type(root.name, inner, name)
                    faults.append(Fault(f'{where}.type', f'a registered {root.name}', repr(name), advice))
    return faults


def _parts(node: Any, keys: list[str], where: str, scope: str) -> Iterator[tuple[str, Any, str]]:
    """The dicts that a place leads to, each with its key path and its scope, which a dict may set for what is in it."""
    if isinstance(node, dict):
        scope = node.get('_scope_', scope)
    if not keys:
        if isinstance(node, dict):
            yield where, node, scope
        return
    key, *rest = keys
    if key == '[]':
        for index, child in enumerate(node if isinstance(node, (list, tuple)) else ()):
            yield from _parts(child, rest, f'{where}.{index}', scope)
    elif hasattr(node, 'get'):
        for name in node if key == '*' else [key]:
            yield from _parts(node.get(name), rest, join_path(where, name), scope)
