"""From a config dict to a component or a model, with the key path in every complaint."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import mmengine.registry
from mmengine.config import Config, ConfigDict
from mmengine.hub import get_config
from mmengine.model import BaseModel
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope, Registry
from torch import nn

from kd_plugins.checkpoint import load_strictly
from kd_plugins.errors import Fault, UserError, closest, join_path
from kd_plugins.registry import SCOPE

FALLBACK_SCOPE = 'mmpretrain'
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def build_component(registry: Registry, config: Any, where: str, **defaults: Any) -> Any:
    """Build one of our components, or one of the user's scope where ours has none of that name.

    Args:
        registry: One of :mod:`kd_plugins.registry`.
        config: Dict with ``type``, a registered name or a class, and the arguments of its ``__init__``.
        where: Key path of ``config``.
        defaults: Arguments used where ``config`` does not set them.

    Returns:
        The component.

    Raises:
        UserError: Not a dict, no or an unknown ``type``, an unknown or a missing argument, or what the component itself
            refuses.
    """
    if not isinstance(config, Mapping) or 'type' not in config:
        raise UserError(Fault(where, 'a dict with the key type', repr(config), "write dict(type='…', …)"))
    arguments = {**defaults, **config}
    component = arguments.pop('type')
    scope = arguments.pop('_scope_', None)
    if isinstance(component, str):
        component = _find(registry, component, scope, join_path(where, 'type'))
    check_arguments(component, arguments, where)
    try:
        return component(**arguments)
    except UserError as error:
        raise error.within(where) from error


def build_model(config: Any, where: str, data_preprocessor: Any = None) -> tuple[BaseModel, bool]:
    """Build a student or a teacher.

    Args:
        config: A model; or the config of one; or ``dict(cfg_path='mmpretrain::…', pretrained=…)``, where further keys
            are merged into the model of the named config.
        where: Key path of ``config``.
        data_preprocessor: Replaces the model's own where given.

    Returns:
        The model, and whether pretrained weights were loaded into it.

    Raises:
        UserError: The config does not describe a whole model.
    """
    if isinstance(config, nn.Module):
        return _require_base_model(config, where), False
    scope, config, pretrained = resolve_model_config(config, where)
    if data_preprocessor is not None:
        config.data_preprocessor = data_preprocessor
    with DefaultScope.overwrite_default_scope(scope), MMENGINE_MODELS.switch_scope_and_registry(scope) as registry:
        try:
            model = registry.build(config)
        except KeyError as error:
            raise explain_unknown_type(error, where, config) from error
    model = _require_base_model(model, where)
    if pretrained:
        load_strictly(model, pretrained, join_path(where, 'pretrained'))
        model._is_init = True
    return model, bool(pretrained)


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
    config = ConfigDict(config)
    scope = config.pop('_scope_', None) or user_scope()
    pretrained = None
    if 'cfg_path' in config:
        scope, config, pretrained = _resolve_cfg_path(config, where)
    if 'type' not in config:
        raise UserError(
            Fault(where, 'the key type or cfg_path', ', '.join(config) or 'an empty dict', 'name the model')
        )
    return scope, config, pretrained


def check_arguments(component: Callable[..., Any], arguments: Mapping[str, Any], where: str) -> None:
    """Hold arguments against a signature without calling it.

    Raises:
        UserError: With every unknown and every missing argument.
    """
    parameters, open_ended = _parameters(component)
    names = [parameter.name for parameter in parameters]
    name = getattr(component, '__name__', repr(component))
    faults = [
        Fault(join_path(where, key), f'an argument of {name}', repr(key), closest(key, names))
        for key in arguments
        if key not in names and not open_ended
    ]
    faults += [
        Fault(where, f'the argument {parameter.name} of {name}', 'none', f'add {parameter.name}=…')
        for parameter in parameters
        if parameter.default is parameter.empty and parameter.name not in arguments
    ]
    if faults:
        raise UserError(*faults)


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


def user_scope() -> str:
    """The scope in which students and teachers are looked up: the config's, or mmpretrain where that is our own."""
    current = DefaultScope.get_current_instance()
    if current is None or current.scope_name in (SCOPE, 'mmrazor', 'mmengine'):
        return FALLBACK_SCOPE
    return current.scope_name


def _find(registry: Registry, name: str, scope: str | None, where: str) -> Callable[..., Any]:
    found = registry.get(name)
    with registry.switch_scope_and_registry(scope or user_scope()) as users:
        found = found or users.get(name)
        if found is None:
            names = registered_names(registry.name, users.scope)
            raise UserError(Fault(where, f'a registered {registry.name}', repr(name), closest(name, names)))
    return found


def _resolve_cfg_path(config: ConfigDict, where: str) -> tuple[str, ConfigDict, str | None]:
    """``dict(cfg_path=…)`` -> the scope, the model's config, and the address of pretrained weights or None."""
    cfg_path = config.pop('cfg_path')
    pretrained = config.pop('pretrained', False)
    package = str(cfg_path).partition('::')[0]
    where = join_path(where, 'cfg_path')
    if '::' not in str(cfg_path) or importlib.util.find_spec(package) is None:
        raise UserError(
            Fault(
                where,
                "'package::path/of/config.py' of an installed package",
                repr(cfg_path),
                "write for instance 'mmpretrain::resnet/resnet50_8xb32_in1k.py'",
            )
        )
    try:
        library = get_config(cfg_path, pretrained=bool(pretrained))
    except (FileNotFoundError, AssertionError) as error:
        raise UserError(
            Fault(where, f'a config that {package} ships', repr(cfg_path), f'look in {package}/.mim/configs ({error})')
        ) from error
    if 'data_preprocessor' in library:
        library.model.setdefault('data_preprocessor', library.data_preprocessor)
    model = Config(dict(model=library.model))
    model.merge_from_dict({'model': dict(config)})
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


def _parameters(component: Callable[..., Any]) -> tuple[list[inspect.Parameter], bool]:
    """Named parameters of a component, and whether it takes any others.

    The classes of this package hand their ``**kwargs`` to the ``__init__`` of their base class.
    """
    functions: list[Callable[..., Any]] = [component]
    if inspect.isclass(component) and component.__module__.partition('.')[0] == SCOPE:
        functions = [inspect.unwrap(vars(base)['__init__']) for base in component.__mro__ if '__init__' in vars(base)]
    named: dict[str, inspect.Parameter] = {}
    for function in functions:
        parameters = list(inspect.signature(function).parameters.values())
        plain = [parameter for parameter in parameters if parameter.kind not in _VARIADIC and parameter.name != 'self']
        named = {**{parameter.name: parameter for parameter in plain}, **named}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return list(named.values()), False
    return list(named.values()), True


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
