"""Values of a config that is not checked yet: of the expected type, or as if they were not there.

A translation changes what it knows. What a value of another type means is not its business: the check of the
translated config names it by its key path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def name_at(node: Any, key: str) -> str | None:
    """The string at a key of a dict; None where there is no dict, no such key or no string.

    Args:
        node: Part of a config.
        key: Of the string.
    """
    value = node.get(key) if isinstance(node, Mapping) else None
    return value if isinstance(value, str) else None


def part_at(node: Any, *keys: str | None) -> Any:
    """The dict below some keys of a dict; an empty one where there is none.

    Args:
        node: Part of a config.
        keys: From the outside in; None leads nowhere.
    """
    for key in keys:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node if isinstance(node, Mapping) else {}
