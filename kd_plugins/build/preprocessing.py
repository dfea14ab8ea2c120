"""The preprocessor that a config gives a model, where the model's library adds arguments to its config."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.registry import Registry

from kd_plugins.build.component import parameters_of
from kd_plugins.build.names import is_registered


def keep_preprocessor(config: Any, registry: Registry) -> Any:
    """Have a model's library build the preprocessor that is named, without arguments that its class does not take.

    mmpretrain's classifiers add ``batch_augments`` to the config of every preprocessor. Their own takes it; mmengine's
    ``ImgDataPreprocessor``, and many of a user's own, do not.

    Args:
        config: The value of ``data_preprocessor``.
        registry: In which the model is built.

    Returns:
        For a dict with a ``type``, the same dict with a function in its place that calls the class with what the config
        says, and with those additions that the class takes. Everything else is returned as it is.
    """
    kind = config.get('type') if isinstance(config, Mapping) else None
    if isinstance(kind, str):
        with registry.switch_scope_and_registry(config.get('_scope_')) as scope:
            kind = scope.get(kind) if is_registered(scope, kind) else None
    if not inspect.isclass(kind):
        return config
    parameters, takes_any = parameters_of(kind)
    if takes_any:
        return config
    # a wrong key of the user stays, and is reported
    known = {parameter.name for parameter in parameters} | set(config)
    component = kind

    @functools.wraps(component, updated=())
    def build(**arguments: Any) -> Any:
        return component(**{name: value for name, value in arguments.items() if name in known})

    return type(config)({**config, 'type': build})
