"""What the names of MMRazor's and mmcls's configs are called here."""

from __future__ import annotations

import inspect
from typing import Any

import mmengine.registry
from mmengine.registry import Registry

from kd_plugins import registry
from kd_plugins.compat.values import name_at
from kd_plugins.registry import SCOPE

MMCLS, MMDET, MMPRETRAIN, MMRAZOR = 'mmcls', 'mmdet', 'mmpretrain', 'mmrazor'
OWN_REGISTRIES = [value for value in vars(registry).values() if isinstance(value, Registry) and value.scope == SCOPE]
# what mmcls 1.0 called differently than mmpretrain
RENAMED = {'PackClsInputs': 'PackInputs', 'ClsVisualizer': 'UniversalVisualizer'}


def is_own_name(name: str) -> bool:
    """Whether this package has something registered under a name."""
    for own in OWN_REGISTRIES:
        own.import_from_location()
    return any(name in own.module_dict for own in OWN_REGISTRIES)


def derives_from_ours(name: str) -> bool:
    """Whether a class in one of mmrazor's registries, where users register their own, derives from one of ours.

    mmrazor is not imported for that: what has registered such a class has done so.

    Args:
        name: Without a scope.
    """
    roots = [value for value in vars(mmengine.registry).values() if isinstance(value, Registry)]
    children = [root.children[MMRAZOR] for root in roots if MMRAZOR in root.children]
    classes = [child.module_dict[name] for child in children if name in child.module_dict]
    bases = [base for found in classes if inspect.isclass(found) for base in found.__mro__]
    return any(base.__module__.partition('.')[0] == SCOPE for base in bases)


def is_mmengine_name(name: str) -> bool:
    """Whether mmengine's own registries, in which mmcv and torch's classes are as well, have a name."""
    return any(name in value.module_dict for value in vars(mmengine.registry).values() if isinstance(value, Registry))


def is_mmrazor_config(config: Any) -> bool:
    """Whether the algorithm of a config is one of MMRazor's that this package has as well, or derives from ours.

    Args:
        config: The whole config.
    """
    model = config.get('model')
    scope, dot, name = (name_at(model, 'type') or '').rpartition('.')
    scope = scope if dot else name_at(model, '_scope_') or config.get('default_scope')
    return scope == MMRAZOR and (is_own_name(name) or derives_from_ours(name))


def translate_name(name: str, scope: str | None, of_mmrazor: bool) -> str:
    """A type, as it is called here.

    Args:
        name: As written, ``'X'`` or ``'scope.X'``.
        scope: Where a name without one belongs.
        of_mmrazor: Whether the config is one of MMRazor's, in which ``mmrazor.X`` is ours where we have it.
    """
    prefix, dot, bare = name.rpartition('.')
    prefix = prefix if dot else scope or MMPRETRAIN
    if prefix in (MMCLS, MMPRETRAIN):
        bare = RENAMED.get(bare, bare)
        return f'{MMPRETRAIN}.{bare}' if dot else bare
    if prefix != MMRAZOR or not of_mmrazor:
        return name
    if is_own_name(bare):
        return f'{SCOPE}.{bare}'
    # 'BN', 'Pretrained', 'SGD' are everybody's
    return name if not dot and is_mmengine_name(bare) else f'{MMRAZOR}.{bare}'
