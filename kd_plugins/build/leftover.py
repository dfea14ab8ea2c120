"""``_delete_`` where there was nothing to replace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kd_plugins.errors import Fault, join_path

DELETE = '_delete_'


def leftover_deletions(node: Any, where: str) -> list[Fault]:
    """Look for ``_delete_`` in what came of a config after all of it was merged.

    mmengine takes the key out where it replaces a dict of the ``_base_`` or of a library's config. Where there was
    none, the key stays, and is handed to what the dict builds. What is below ``cfg_path`` is not looked at, since it is
    yet to be merged.

    Args:
        node: The config, or a part of it.
        where: Its key path.

    Returns:
        A fault for each.
    """
    faults = []
    if isinstance(node, Mapping):
        if DELETE in node:
            expected, advice = f'no {DELETE} where there is no dict to replace', 'remove it'
            faults.append(Fault(join_path(where, DELETE), expected, repr(node[DELETE]), advice))
        if 'cfg_path' in node:
            return faults
    children = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, child in children:
        faults += leftover_deletions(child, join_path(where, str(key)))
    return faults
