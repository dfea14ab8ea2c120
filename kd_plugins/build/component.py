"""From a config dict to a component, with the key path in every complaint."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from mmengine.registry import Registry

from kd_plugins.build.names import explain_unknown_type, registered_names, user_scope
from kd_plugins.errors import Fault, UserError, closest, join_path
from kd_plugins.registry import SCOPE

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def build_component(registry: Registry, config: Any, where: str) -> Any:
    """Build one of our components, or one of the user's scope where ours has none of that name.

    Args:
        registry: One of :mod:`kd_plugins.registry`.
        config: Dict with ``type``, a registered name or a class, and the arguments of its ``__init__``.
        where: Key path of ``config``.

    Returns:
        The component.

    Raises:
        UserError: Not a dict, no or an unknown ``type``, an unknown or a missing argument, or what the component itself
            refuses.
    """
    if not isinstance(config, Mapping) or 'type' not in config:
        raise UserError(Fault(where, 'a dict with the key type', repr(config), "write dict(type='…', …)"))
    arguments = dict(config)
    component = arguments.pop('type')
    scope = arguments.pop('_scope_', None)
    if isinstance(component, str):
        component = _find(registry, component, scope, join_path(where, 'type'))
    check_arguments(component, arguments, where)
    try:
        return component(**arguments)
    except UserError as error:
        raise error.within(where) from error
    except (AssertionError, KeyError) as error:
        raise _refused_inside(error, component, config, where) from error


def check_arguments(component: Callable[..., Any], arguments: Mapping[str, Any], where: str) -> None:
    """Hold arguments against a signature without calling it.

    Raises:
        UserError: With every unknown and every missing argument.
    """
    parameters, open_ended = _parameters(component)
    names = [parameter.name for parameter in parameters]
    name = _name(component)
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


def _find(registry: Registry, name: str, scope: str | None, where: str) -> Callable[..., Any]:
    try:
        return _look_up(registry, name, scope, where)
    except ImportError as error:
        raise UserError(
            Fault(
                where,
                'a type of a library that can be imported',
                f'{name!r} in the scope {scope or name.partition(".")[0]!r} ({" ".join(str(error).split())[:120]})',
                "MMRazor's distillation types are here under kd_plugins: write that scope, or none",
            )
        ) from error


def _look_up(registry: Registry, name: str, scope: str | None, where: str) -> Callable[..., Any]:
    found = registry.get(name)
    with registry.switch_scope_and_registry(scope or user_scope()) as users:
        found = found or users.get(name)
        if found is None:
            names = registered_names(registry.name, users.scope)
            raise UserError(Fault(where, f'a registered {registry.name}', repr(name), closest(name, names)))
    return found


def _refused_inside(
    error: AssertionError | KeyError, component: Callable[..., Any], config: Any, where: str
) -> Exception:
    """What mmcv's and mmengine's own parts say against an argument, as a fault; other errors pass."""
    if isinstance(error, KeyError):
        explained = explain_unknown_type(error, where, config)
        if explained is not error or 'Cannot find' not in str(error):
            return explained
    message = f'{type(error).__name__}: {" ".join(map(str, error.args))}'
    return UserError(
        Fault(where, f'arguments that {_name(component)} takes', message, 'correct the value that it names')
    )


def _name(component: Callable[..., Any]) -> str:
    return getattr(component, '__name__', repr(component))


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
