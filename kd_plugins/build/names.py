"""Which names a config can use."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import mmengine.registry
from mmengine.registry import DefaultScope, Registry

from kd_plugins.errors import closest, join_path
from kd_plugins.registry import SCOPE

FALLBACK_SCOPE = 'mmpretrain'


def user_scope() -> str:
    """The scope in which students and teachers are looked up: the config's, or mmpretrain where that is our own."""
    # a _scope_ in the config of the algorithm lies over the config's own
    scopes = [scope.scope_name for scope in DefaultScope._instance_dict.values()]
    theirs = [name for name in scopes if name not in (SCOPE, 'mmrazor', 'mmengine')]
    return theirs[-1] if theirs else FALLBACK_SCOPE


def bare_name(kind: Any) -> str:
    """The name of a type as a config has it, without its scope.

    Args:
        kind: A name with or without a scope, or the class itself, as in pure-Python configs.
    """
    return str(getattr(kind, '__name__', kind)).rpartition('.')[2]


def registered_names(kind: str, scope: str) -> set[str]:
    """Names that a config of a scope can use.

    Args:
        kind: Name of the registries, e.g. ``'model'``.
        scope: The config's scope.
    """
    names: set[str] = set()
    for registry in _registries():
        if _is_of(registry, kind) and registry.scope in (scope, 'mmengine', SCOPE):
            names.update(registry.module_dict)
    return names


def advise_on_type(kind: str, scope: str, name: str) -> str:
    """What to write instead of a type that a scope does not have.

    Args:
        kind: Name of the registries, e.g. ``'model'``.
        scope: In which it was looked up.
        name: What was written, with or without a scope.

    Returns:
        The same name with the scope that has it, where another one does; the closest names otherwise.
    """
    bare = name.rpartition('.')[2]
    scopes = [other for other in _scopes_with(kind, bare) if f'{other}.{bare}' != name]
    if scopes:
        written = ' or '.join(repr(f'{other}.{bare}') for other in scopes)
        return f'it is in scope {" and ".join(scopes)}: write {written}'
    return closest(name, registered_names(kind, scope))


def _scopes_with(kind: str, bare: str) -> list[str]:
    """The scopes whose own registries of a kind have a name; ours comes first."""
    scopes = {registry.scope for registry in _registries() if _is_of(registry, kind) and bare in registry.module_dict}
    return sorted(scopes, key=lambda scope: (scope != SCOPE, scope))


def _is_of(registry: Registry, kind: str) -> bool:
    return registry.name.replace('_', ' ') == kind.replace('_', ' ')


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


def names_in(node: Any, keys: Collection[str] = ('type',), where: str = '') -> Iterator[tuple[str, str]]:
    """Every string at some keys of a config, however deep, with its key path.

    Args:
        node: The config, or a part of it.
        keys: The keys.
        where: Key path of the part.
    """
    if isinstance(node, Mapping):
        yield from ((join_path(where, key), node[key]) for key in keys if isinstance(node.get(key), str))
        children = [(str(key), child) for key, child in node.items()]
    else:
        listed = isinstance(node, (list, tuple))
        children = [(str(index), child) for index, child in enumerate(node)] if listed else []
    for key, child in children:
        yield from names_in(child, keys, join_path(where, key))


def _registries() -> list[Registry]:
    """Every registry of the tree below mmengine's roots."""
    pending = [value for value in vars(mmengine.registry).values() if isinstance(value, Registry)]
    found = []
    while pending:
        registry = pending.pop()
        found.append(registry)
        pending.extend(registry.children.values())
    return found
