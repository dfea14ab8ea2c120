"""Which names a config can use."""

from __future__ import annotations

import mmengine.registry
from mmengine.registry import DefaultScope, Registry

from kd_plugins.registry import SCOPE

FALLBACK_SCOPE = 'mmpretrain'


def user_scope() -> str:
    """The scope in which students and teachers are looked up: the config's, or mmpretrain where that is our own."""
    # a _scope_ in the config of the algorithm lies over the config's own
    scopes = [scope.scope_name for scope in DefaultScope._instance_dict.values()]
    theirs = [name for name in scopes if name not in (SCOPE, 'mmrazor', 'mmengine')]
    return theirs[-1] if theirs else FALLBACK_SCOPE


def registered_names(kind: str, scope: str) -> set[str]:
    """Names that a config of a scope can use.

    Args:
        kind: Name of the registries, e.g. ``'model'``.
        scope: The config's scope.
    """
    names: set[str] = set()
    for registry in _registries():
        if registry.name.replace('_', ' ') == kind.replace('_', ' ') and registry.scope in (scope, 'mmengine', SCOPE):
            names.update(registry.module_dict)
    return names


def is_registered(registry: Registry, name: str) -> bool:
    """Whether a registry, or one that it looks into, has a name.

    Args:
        registry: The registry.
        name: With or without a scope.
    """
    try:
        return registry.get(name) is not None
    except RuntimeError:
        return False  # what is no name at all, such as '', makes mmengine raise


def _registries() -> list[Registry]:
    """Every registry of the tree below mmengine's roots."""
    pending = [value for value in vars(mmengine.registry).values() if isinstance(value, Registry)]
    found = []
    while pending:
        registry = pending.pop()
        found.append(registry)
        pending.extend(registry.children.values())
    return found
