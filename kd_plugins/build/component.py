"""From a config dict to a component, with the key path in every complaint."""

from __future__ import annotations

import difflib
import inspect
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mmengine.registry import Registry

from kd_plugins.build.failure import explain_failure
from kd_plugins.build.names import advise_on_type, is_registered, user_scope
from kd_plugins.errors import Fault, UserError, closest, is_drafting, join_path
from kd_plugins.registry import SCOPE

# annotations that can be held against a value, and how they are called
_PLAIN_TYPES: dict[Any, tuple[type, str]] = {
    'bool': (bool, 'True or False'),
    'int': (numbers.Integral, 'a whole number'),
    'float': (numbers.Real, 'a number'),
    'str': (str, 'a string'),
}
# losses of torch.nn, and what of ours computes the same
_OF_TORCH = {
    'MSELoss': "write type='L2Loss', normalize=False, div_element=True, which computes the same as torch.nn.MSELoss()",
    'KLDivLoss': "write type='KLDivergence', which takes the logits of both and has a temperature tau",
}
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class Declared:
    """The config of a component, and where it was written.

    Attributes:
        config: Dict with ``type`` and arguments.
        where: Key path.
        bare: Key that was not written, because what stands at ``where`` is its value: no key path ends in it.
    """

    config: Any
    where: str
    bare: str = ''

    def blame(self, fault: Fault) -> Fault:
        """A fault of the component, under the key path of what was written."""
        return replace(fault, where=join_path(self.where, '' if fault.where == self.bare else fault.where))


def find_component(registry: Registry, config: Any, where: str) -> Callable[..., Any]:
    """The class that a config names, ours or one of the user's scope where ours has none of that name.

    Args:
        registry: One of :mod:`kd_plugins.registry`.
        config: Dict with ``type``, a registered name or a class.
        where: Key path of ``config``.

    Raises:
        UserError: Not a dict, or no or an unknown ``type``.
    """
    if not isinstance(config, Mapping) or 'type' not in config:
        raise UserError(Fault(where, 'a dict with the key type', _describe(config), "write dict(type='…', …)"))
    component = config['type']
    if isinstance(component, str):
        return _find(registry, component, config.get('_scope_'), join_path(where, 'type'))
    if not callable(component):
        expected = f'the name of a {registry.name}, or a class'
        raise UserError(Fault(join_path(where, 'type'), expected, repr(component), "write type='…'"))
    return component


def with_suffix(registry: Registry, config: Any, suffix: str, suffixed_first: bool = False) -> Any:
    """A config with the full name of its type: MMRazor's write ``'ModuleOutputs'`` for a ``ModuleOutputsRecorder``.

    Args:
        registry: One of :mod:`kd_plugins.registry`.
        config: Dict with ``type``; anything else is returned as it is.
        suffix: What may be left out at the end of the name.
        suffixed_first: Whether a class with the suffix takes precedence over one that has the name as written.
    """
    kind = config.get('type') if isinstance(config, Mapping) else None
    if not isinstance(kind, str):
        return config
    names = [f'{kind}{suffix}', kind] if suffixed_first else [kind, f'{kind}{suffix}']
    for name in names:
        try:
            find_component(registry, {**config, 'type': name}, '')
        except UserError:
            continue
        return {**config, 'type': name}
    return config


def build_component(registry: Registry, config: Any, where: str) -> Any:
    """Build one of our components, or one of the user's scope where ours has none of that name.

    Args:
        registry: One of :mod:`kd_plugins.registry`.
        config: Dict with ``type``, a registered name or a class, and the arguments of its ``__init__``.
        where: Key path of ``config``.

    Returns:
        The component. While drafting, its ``faults`` begin with the unknown arguments; it gets those that are like one
        that it has, for what they mean.

    Raises:
        UserError: Not a dict, no or an unknown ``type``, an unknown or a missing argument, or what the component itself
            refuses.
    """
    component = find_component(registry, config, where)
    arguments = {key: value for key, value in config.items() if key not in ('type', '_scope_')}
    unknown, unfit = argument_faults(component, arguments)
    if is_drafting() and unknown:
        arguments = _as_meant(arguments, unknown, component)
        unfit = argument_faults(component, arguments)[1]
    if unfit or (unknown and not is_drafting()):
        raise UserError(*(fault.within(where) for fault in (*unknown.values(), *unfit)))
    try:
        # as in mmengine, types in the arguments are looked up in the scope of the whole
        with registry.switch_scope_and_registry(config.get('_scope_')):
            built = component(**arguments)
    except UserError as error:
        raise error.within(where) from error
    except Exception as error:
        # a constructor has seen nothing but what the config says
        raise explain_failure(error, where, {**arguments, 'type': component}) from error
    if unknown:
        built.faults = (*unknown.values(), *getattr(built, 'faults', ()))
    return built


def argument_faults(
    component: Callable[..., Any], arguments: Mapping[str, Any]
) -> tuple[dict[str, Fault], list[Fault]]:
    """Hold arguments against a signature without calling it.

    Returns:
        The unknown arguments by name, and the missing ones and those of another type; each ``where`` is seen from the
        component.
    """
    parameters, open_ended = parameters_of(component)
    names = [parameter.name for parameter in parameters]
    name = _name(component)
    unknown = {
        key: Fault(str(key), f'an argument of {name}', repr(key), closest(str(key), names))
        for key in arguments
        if key not in names and not open_ended
    }
    missing = [
        Fault('', f'the argument {parameter.name} of {name}', 'none', f'add {parameter.name}=…')
        for parameter in parameters
        if parameter.default is parameter.empty and parameter.name not in arguments
    ]
    mistyped = [
        Fault(parameter.name, expected, repr(arguments[parameter.name]), f'correct {parameter.name}')
        for parameter in parameters
        if parameter.name in arguments and _is_ours(component)
        for expected in [_expected_type(parameter.annotation, arguments[parameter.name])]
        if expected
    ]
    return unknown, missing + mistyped


def _expected_type(annotation: Any, value: Any) -> str:
    """What a parameter that is annotated with a plain type expects, where the value is something else."""
    types, words = _PLAIN_TYPES.get(annotation, (object, ''))
    is_wrong_bool = isinstance(value, bool) and annotation != 'bool'
    return words if words and (not isinstance(value, types) or is_wrong_bool) else ''


def _as_meant(
    arguments: Mapping[str, Any], unknown: Mapping[str, Fault], component: Callable[..., Any]
) -> dict[str, Any]:
    """Arguments without the unknown ones, save those whose lack would be a fault of its own under the right name."""
    right = {key: value for key, value in arguments.items() if key not in unknown}
    absent = {parameter.name: parameter for parameter in parameters_of(component)[0] if parameter.name not in right}
    for key in unknown:
        for name in difflib.get_close_matches(str(key), absent, 1, 0.75):
            parameter = absent.pop(name)
            if parameter.default is parameter.empty or isinstance(arguments[key], Mapping):
                right[name] = arguments[key]
    return right


def _is_ours(component: Callable[..., Any]) -> bool:
    return inspect.isclass(component) and component.__module__.partition('.')[0] == SCOPE


def _describe(config: Any) -> str:
    if not isinstance(config, Mapping):
        return repr(config)
    return f'one with {", ".join(map(str, config))}' if config else 'an empty dict'


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
    found = registry.get(name) if scope in (None, registry.scope) and is_registered(registry, name) else None
    with registry.switch_scope_and_registry(scope or user_scope()) as users:
        found = found or (users.get(name) if is_registered(users, name) else None)
        if found is None:
            advice = _OF_TORCH.get(name.rpartition('.')[2]) or advise_on_type(registry.name, users.scope, name)
            raise UserError(Fault(where, f'a registered {registry.name}', repr(name), advice))
    return found


def _name(component: Callable[..., Any]) -> str:
    return getattr(component, '__name__', repr(component))


def parameters_of(component: Callable[..., Any]) -> tuple[list[inspect.Parameter], bool]:
    """Named parameters of a component, and whether it takes any others.

    The classes of this package hand their ``**kwargs`` to the ``__init__`` of their base class.
    """
    functions: list[Callable[..., Any]] = [component]
    if inspect.isclass(component) and _is_ours(component):
        functions = [inspect.unwrap(vars(base)['__init__']) for base in component.__mro__ if '__init__' in vars(base)]
    named: dict[str, inspect.Parameter] = {}
    for function in functions:
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except ValueError:
            return [], True  # some of Python's own types have none
        plain = [parameter for parameter in parameters if parameter.kind not in _VARIADIC and parameter.name != 'self']
        named = {**{parameter.name: parameter for parameter in plain}, **named}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return list(named.values()), False
    return list(named.values()), True
