"""Classes that a user derived from MMRazor's, and which of ours to derive them from."""

from __future__ import annotations

import inspect
from typing import Any

from mmengine.registry import Registry

from kd_plugins.errors import Fault
from kd_plugins.registry import SCOPE

MMRAZOR = 'mmrazor'
# abstract ones, which have no name in a registry
ABSTRACT = {
    'BaseRecorder': f'{SCOPE}.recorders.Recorder',
    'DistillDelivery': f'{SCOPE}.deliveries.Delivery',
    'BaseDistiller': f'{SCOPE}.distiller.ConfigurableDistiller',
}


def base_to_use(component: Any, registry: Registry) -> str | None:
    """Which class of ours stands for the class of MMRazor's that another derives from.

    Args:
        component: A class.
        registry: One of :mod:`kd_plugins.registry`.

    Returns:
        Its import path, or None where the class does not derive from one of MMRazor's that we have as well.
    """
    if not inspect.isclass(component) or any(_package(base) == SCOPE for base in component.__mro__):
        return None
    for base in component.__mro__:
        if _package(base) != MMRAZOR:
            continue
        ours = registry.module_dict.get(base.__name__)
        if ours is not None:
            return f'{".".join(ours.__module__.split(".")[:2])}.{ours.__name__}'
        if base.__name__ in ABSTRACT:
            return ABSTRACT[base.__name__]
    return None


def wrong_base_fault(component: Any, registry: Registry, what: str) -> Fault | None:
    """A fault for a class that derives from MMRazor's where only one of ours works.

    Args:
        component: The class that a config names.
        registry: One of :mod:`kd_plugins.registry`.
        what: What it should be, such as ``'recorder'``.

    Returns:
        The fault, seen from the config of the component; None where the class derives from none of MMRazor's.
    """
    base = base_to_use(component, registry)
    if base is None:
        return None
    if _package(component) == MMRAZOR:
        return Fault('type', f'a {what} of kd_plugins', f"MMRazor's {component.__name__}", f'use {base}')
    got = f"{component.__name__}, which derives from MMRazor's"
    advice = f'derive it from {base} (docs/extending.md); it may stay in the registry it is in'
    return Fault('type', f'a {what} of kd_plugins', got, advice)


def _package(component: type) -> str:
    return component.__module__.partition('.')[0]
