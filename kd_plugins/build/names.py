"""Which names a config can use, and what to say of one that it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mmengine.registry
from mmengine.registry import DefaultScope, Registry

from kd_plugins.errors import Fault, UserError, closest, join_path
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


def explain_unknown_type(error: KeyError, where: str, config: Any) -> Exception:
    """Turn mmengine's 'X is not in the registry' into a fault with the closest names; other errors pass.

    Args:
        error: What ``Registry.build`` raised.
        where: Key path of ``config``.
        config: What was being built; the unknown type is somewhere in it.
    """
    message = str(error.args[0]) if error.args else ''
    name, found, rest = message.partition(' is not in the ')
    if not found:
        return error
    scope, _, kind = rest.split(' registry')[0].partition('::')
    return UserError(
        Fault(
            join_path(where, _path_of_type(config, name) or '', 'type'),
            f'a registered {kind}',
            repr(name),
            closest(name, registered_names(kind, scope)),
        )
    )


def _path_of_type(node: Any, name: str) -> str | None:
    """Key path of the first dict below ``node`` whose type is ``name``."""
    if isinstance(node, Mapping) and node.get('type') == name:
        return ''
    children = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, child in children:
        path = _path_of_type(child, name)
        if path is not None:
            return join_path(str(key), path)
    return None


def _registries() -> list[Registry]:
    """Every registry of the tree below mmengine's roots."""
    pending = [value for value in vars(mmengine.registry).values() if isinstance(value, Registry)]
    found = []
    while pending:
        registry = pending.pop()
        found.append(registry)
        pending.extend(registry.children.values())
    return found
