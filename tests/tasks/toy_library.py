"""The registries of a library of models, as each library of OpenMMLab has them."""

from __future__ import annotations

import mmengine.registry
from mmengine.registry import Registry


def registries_of(scope: str) -> dict[str, Registry]:
    """A child of each of mmengine's registries in a scope of its own, by the name of the parent: ``'MODELS'``, …"""
    roots = {name: value for name, value in vars(mmengine.registry).items() if isinstance(value, Registry)}
    return {name: Registry(root.name, parent=root, scope=scope) for name, root in roots.items()}
