"""From what a config says of a student or a teacher to a model."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModel
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope
from torch import nn

from kd_plugins.build.failure import explain_failure
from kd_plugins.build.leftover import leftover_deletions
from kd_plugins.build.library import read_library_config, require_library_config
from kd_plugins.build.names import user_scope
from kd_plugins.build.preprocessing import keep_preprocessor
from kd_plugins.checkpoint import load_strictly
from kd_plugins.errors import Fault, UserError, join_path
from kd_plugins.stack import require_operators


def build_model(
    config: Any, where: str, data_preprocessor: Any = None, as_library: bool = False
) -> tuple[BaseModel, bool]:
    """Build a student or a teacher.

    Args:
        config: A model; or the config of one; or ``dict(cfg_path='mmpretrain::…', pretrained=…)``, where further keys
            are merged into the model of the named config. ``pretrained=True`` takes the weights that the package lists
            for it, and None leaves out those of the backbone as well, which mmseg's models name by a key
            ``pretrained`` of their own.
        where: Key path of ``config``.
        data_preprocessor: Replaces the model's own where given, as the key of that name beside ``config``.
        as_library: Build the model exactly as its library does. By default, a preprocessor that is named gets no
            arguments from the library that its class does not take.

    Returns:
        The model, and whether it has weights to keep: those of a given model, or pretrained ones. mmengine does not
        initialise them then.

    Raises:
        UserError: The config does not describe a whole model.
    """
    if isinstance(config, nn.Module):
        model = _require_base_model(config, where)
        model._is_init = True
        return model, True
    scope, config, pretrained = resolve_model_config(config, where)
    if data_preprocessor is not None:
        config.data_preprocessor = data_preprocessor
    with DefaultScope.overwrite_default_scope(scope), MMENGINE_MODELS.switch_scope_and_registry(scope) as registry:
        if 'data_preprocessor' in config and not as_library:
            config.data_preprocessor = keep_preprocessor(config.data_preprocessor, registry)
        try:
            # models complete the configs that they are given, and complaints are about what was written
            model = registry.build(copy.deepcopy(config))
        except Exception as error:
            explained = explain_failure(error, where, config)
            if data_preprocessor is not None:
                explained = _move_faults(explained, join_path(where, 'data_preprocessor'), 'data_preprocessor')
            raise explained from error
    model = _require_base_model(model, where)
    if pretrained:
        load_strictly(model, pretrained, join_path(where, 'pretrained'))
        model._is_init = True
    return model, bool(pretrained)


def _move_faults(error: UserError, path: str, written_at: str) -> UserError:
    """Faults of a part that was not written where it was put."""
    return UserError(
        *(
            replace(fault, where=written_at + fault.where.removeprefix(path))
            if f'{fault.where}.'.startswith(f'{path}.')
            else fault
            for fault in error.faults
        )
    )


def initialise(model: BaseModel, config: Any, where: str) -> None:
    """Initialise a model's weights as its config says.

    Args:
        model: The model.
        config: What it was built from.
        where: Key path of ``config``.

    Raises:
        UserError: An ``init_cfg`` somewhere in the config cannot be followed.
    """
    try:
        model.init_weights()
    except Exception as error:
        # mmengine has nothing but the config's init_cfg to go by
        raise explain_failure(error, where, config) from error


def resolve_model_config(config: Any, where: str) -> tuple[str, ConfigDict, str | None]:
    """From what a config says of a student or a teacher to the config of that model alone.

    Args:
        config: As for :func:`build_model`, but not a model.
        where: Key path of ``config``.

    Returns:
        The scope in which the model is built, its config, and the address of pretrained weights or None.

    Raises:
        UserError: It does not describe a model.
    """
    if not isinstance(config, Mapping):
        raise UserError(
            Fault(where, 'a model, the config of one, or dict(cfg_path=…)', repr(config), "write dict(type='…', …)")
        )
    config = ConfigDict(copy.deepcopy(config))
    scope = config.pop('_scope_', None) or user_scope()
    pretrained = None
    if 'cfg_path' in config:
        scope, config, pretrained = _resolve_cfg_path(config, where)
    if 'type' not in config:
        raise UserError(
            Fault(where, 'the key type or cfg_path', ', '.join(config) or 'an empty dict', 'name the model')
        )
    return scope, config, pretrained


def _resolve_cfg_path(config: ConfigDict, where: str) -> tuple[str, ConfigDict, str | None]:
    """``dict(cfg_path=…)`` -> the scope, the model's config, and the address of pretrained weights or None."""
    cfg_path = config.pop('cfg_path')
    pretrained = config.pop('pretrained', False)
    package = str(cfg_path).partition('::')[0]
    where = join_path(where, 'cfg_path')
    require_operators(package, where)
    if '::' not in str(cfg_path) or importlib.util.find_spec(package) is None:
        raise UserError(
            Fault(
                where,
                "'package::path/of/config.py' of an installed package",
                repr(cfg_path),
                "write for instance 'mmpretrain::resnet/resnet50_8xb32_in1k.py'",
            )
        )
    require_library_config(where, cfg_path)
    library = read_library_config(cfg_path, pretrained=bool(pretrained))
    if pretrained and 'model_path' not in library:
        raise UserError(
            Fault(
                join_path(where.rpartition('.')[0], 'pretrained'),
                f'a config whose weights {package} lists',
                repr(cfg_path),
                'set pretrained=False, and give a checkpoint for a teacher',
            )
        )
    if 'data_preprocessor' in library:
        library.model.setdefault('data_preprocessor', library.data_preprocessor)
    model = Config(dict(model=library.model))
    if pretrained is None and 'pretrained' in library.model:
        config.pretrained = None
    model.merge_from_dict({'model': dict(config)})
    faults = leftover_deletions(model.model, where.rpartition('.')[0])
    if faults:
        raise UserError(*faults)
    return package, model.model, library.get('model_path')


def _require_base_model(model: Any, where: str) -> BaseModel:
    if not isinstance(model, BaseModel):
        raise UserError(
            Fault(
                where,
                'a whole mmengine model (BaseModel)',
                f'a {type(model).__name__}',
                'give the model with its head and loss, not a part of it',
            )
        )
    return model
