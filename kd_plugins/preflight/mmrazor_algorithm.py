"""Algorithms that a user derived from MMRazor's, which run in the mmrazor package's own code."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseModel
from mmengine.registry import MODELS as MMENGINE_MODELS

from kd_plugins.build import bare_name, base_to_use, find_component, is_registered
from kd_plugins.distiller import DISTILLERS
from kd_plugins.errors import Fault
from kd_plugins.registry import MODELS, SCOPE


def algorithm_faults(config: Any) -> list[Fault]:
    """Look for distillers of this package in an algorithm that derives from MMRazor's, which cannot enter them.

    Args:
        config: Of the model.

    Raises:
        UserError: The config names no model.
    """
    component = find_component(MMENGINE_MODELS, config, 'model')
    base = base_to_use(component, MODELS)
    faults = []
    for key in DISTILLERS if base is not None else ():
        part = config.get(key)
        if isinstance(part, Mapping) and _is_ours(part.get('type'), part.get('_scope_') or config.get('_scope_')):
            name, kind = component.__name__, bare_name(part['type'])
            expected = f"a distiller of MMRazor's, for {name} derives from its algorithm"
            advice = f'derive {name} from {base} (docs/extending.md), or write mmrazor.{kind}'
            faults.append(Fault(f'model.{key}.type', expected, f'{kind} of kd_plugins', advice))
    return faults


def algorithm_warnings(model: BaseModel) -> list[Fault]:
    """What an algorithm that derives from MMRazor's lacks.

    Args:
        model: What was built from a config.
    """
    base = base_to_use(type(model), MODELS)
    if base is None:
        return []
    got = f"{type(model).__name__}, which derives from MMRazor's: its teacher runs as a whole and is in each checkpoint"
    advice = f'derive it from {base} (docs/extending.md)'
    expected = 'an algorithm of kd_plugins, whose records and losses the preflight checks'
    return [Fault('model.type', expected, got, advice)]


def _is_ours(kind: Any, scope: str | None) -> bool:
    if isinstance(kind, str):
        with MMENGINE_MODELS.switch_scope_and_registry(scope) as registry:
            kind = registry.get(kind) if is_registered(registry, kind) else None
    return inspect.isclass(kind) and any(base.__module__.partition('.')[0] == SCOPE for base in kind.__mro__)
