"""Writes the connectors that a preflight worked out into the config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAPPINGS = 'loss_forward_mappings'


def apply_edits(distiller: dict[str, Any], edits: Mapping[str, Any]) -> None:
    """Make a distiller's config explicit.

    Args:
        distiller: Its config, which is changed.
        edits: Connector config by key path below the distiller, which ends in ``connector`` or in a name below
            ``connectors``; None where no connector is needed.
    """
    for path, config in edits.items():
        *keys, last = path.split('.')
        if keys[0] == MAPPINGS:
            name = '_'.join(keys[1:])
            distiller.setdefault('connectors', {})[name] = config
            _below(distiller, keys)[last] = name
            continue
        node = _below(distiller, keys)
        if config is not None:
            node[last] = config
            continue
        node.pop(last, None)
        if keys == ['connectors']:
            _forget(distiller, last)


def _below(node: Any, keys: list[str]) -> Any:
    """The dict at a key path; a source that is a mere module path becomes a dict on the way."""
    for key in keys:
        if isinstance(node[key], str):
            node[key] = dict(source=node[key])
        node = node[key]
    return node


def _forget(node: Any, connector: str) -> None:
    """Remove every use of a connector that was declared by name."""
    if isinstance(node, dict):
        if node.get('connector') == connector:
            del node['connector']
        for child in node.values():
            _forget(child, connector)
