"""What goes wrong while a library builds the parts of a config, told with the key path in that config."""

from __future__ import annotations

import difflib
import inspect
import re
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

from kd_plugins.build.names import advise_on_type
from kd_plugins.errors import Fault, UserError, closest, join_path

_UNKNOWN_TYPE = re.compile(r"^['\"]?(?P<name>\S+) is not in the (?P<scope>[\w.]+)::(?P<kind>.+?) registry")
_UNKNOWN_ARGUMENT = re.compile(r"unexpected keyword argument '(?P<key>\w+)'")
_INSTALL = re.compile(r'pip install (?:-\S+ )*(?P<packages>[\w.\-]+(?: [\w.\-]+)*)')
_MISSING_ARGUMENTS = re.compile(r'missing \d+ required .*arguments?: (?P<keys>.+)$')


def explain_failure(error: Exception, where: str, config: Any) -> UserError:
    """Turn what was raised while ``config`` was being built into one fault.

    Args:
        error: What was raised, with its traceback; a :class:`UserError` only gets the key path of what raised it.
        where: Key path of ``config``.
        config: The config that was being built, a dict with dicts below it.

    Returns:
        A fault that names the innermost dict of ``config`` that was being built, and the key where it is known.
    """
    below, component, given = _what_failed(error, config)
    path = join_path(where, below)
    if isinstance(error, UserError):
        start = _path_of_start(config, error)
        return error.within(path if start is None else join_path(where, start))
    message = ' '.join(str(error.args[0] if len(error.args) == 1 else error).split())
    if not message and isinstance(error, AssertionError):
        # without words of its own, what it holds is all that it says
        message = traceback.extract_tb(error.__traceback__)[-1].line or ''
    unknown = _UNKNOWN_TYPE.match(message)
    if unknown:
        name, scope, kind = unknown['name'], unknown['scope'], unknown['kind']
        path = join_path(where, _path_of_type(config, name) or '', 'type')
        return UserError(Fault(path, f'a registered {kind}', repr(name), advise_on_type(kind, scope, name)))
    if isinstance(error, KeyError) and (message == 'type' or 'must contain the key "type"' in message):
        got = f'one with {", ".join(given) or "no key"}'
        return UserError(Fault(path, 'a dict with the key type', got, "add type='…'"))
    if message.startswith('type must be a str'):
        return UserError(Fault(join_path(path, 'type'), 'the name of a type', repr(component), "write type='…'"))
    name = str(getattr(component, '__name__', component or 'its type')).rpartition('.')[2]
    uninstalled = _missing_packages(error, message)
    if uninstalled:
        names, advice = uninstalled
        got = f'no {names} ({type(error).__name__}: {message[:200]})'
        return UserError(Fault(path, f'the packages that {name} needs', got, f'{advice}, or remove this part'))
    key = _UNKNOWN_ARGUMENT.search(message)
    if key:
        inner = _path_of_key(config, below, key['key'])
        advice = _advice(component, key['key']) if inner == '' else 'correct the key, or remove it'
        expected = f'an argument of {name}' if inner == '' else 'a key that the part takes'
        return UserError(Fault(join_path(path, inner or '', key['key']), expected, repr(key['key']), advice))
    missing = _MISSING_ARGUMENTS.search(message)
    if missing:
        absent = re.findall(r"'(\w+)'", missing['keys'])
        alike = [(key, near) for key in absent for near in difflib.get_close_matches(key, given)]
        advice = ', '.join(f'is {near!r} meant to be {key!r}?' for key, near in alike) or 'add them'
        expected = f'the arguments that {name} needs'
        return UserError(Fault(path, expected, f'none for {missing["keys"]}', advice))
    got = f'{type(error).__name__}: {message[:300]}'
    if 'Cannot find' in message:
        got = f'{got} in {_without_type(config)!r}'
    return UserError(Fault(path, f'arguments that {name} takes', got, 'correct the value that it names'))


def _what_failed(error: Exception, config: Any) -> tuple[str, Any, list[str]]:
    """Key path below ``config`` of the innermost part that was being built, its class, and the keys it was given."""
    calls = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_name == 'build_from_cfg']
    for frame in reversed(calls):
        built = frame.f_locals.get('args', frame.f_locals.get('cfg'))
        if not isinstance(built, Mapping):
            continue
        kind = frame.f_locals.get('obj_type')
        places = [(path, node) for path, node in _dicts(config, '') if node.get('type') == kind]
        alike = [path for path, node in places if node and set(built) >= set(node) - {'type', '_scope_'}]
        if alike or (places and kind is not None):
            return (alike or [places[0][0]])[0], frame.f_locals.get('obj_cls', kind), list(map(str, built))
    # ours say themselves where they belong
    found = None if isinstance(error, UserError) else _at_work(error, config)
    if found is not None:
        return found
    node = config if isinstance(config, Mapping) else {}
    return '', node.get('type'), list(map(str, node))


def _at_work(error: Exception, config: Any) -> tuple[str, Any, list[str]] | None:
    """The same of the innermost part that was built before and did something when it failed; None for none."""
    objects = [frame.f_locals.get('self') for frame, _ in traceback.walk_tb(error.__traceback__)]
    for kind in map(type, reversed(objects)):
        for path, node in _dicts(config, ''):
            named = node.get('type')
            if named is kind or (isinstance(named, str) and named.rpartition('.')[2] == kind.__name__):
                return path, kind, list(map(str, node))
    return None


def _missing_packages(error: Exception, message: str) -> tuple[str, str] | None:
    """What is not installed, and how to install it; None where that is not what failed."""
    said = _INSTALL.search(message)
    if isinstance(error, ImportError) and said:
        # the names end where the sentence goes on
        names = said['packages'].partition(' to ')[0].rstrip('.')
        return names, f'pip install {names}'
    if isinstance(error, ModuleNotFoundError) and error.name:
        module = error.name.partition('.')[0]
        return module, f'install the package that has {module}'
    return None


def _path_of_start(config: Any, error: UserError) -> str | None:
    """Key path of the ``init_cfg`` whose checkpoint could not be loaded; None where the error is about another."""
    fault = error.faults[0]
    starts = ((path, node.get('checkpoint')) for path, node in _dicts(config, '') if fault.where == 'checkpoint')
    return next((path for path, file in starts if isinstance(file, str) and file in fault.got), None)


def _path_of_key(config: Any, path: str, key: str) -> str | None:
    """Key path, below the dict at ``path``, of the dict that has a key."""
    for step in path.split('.') if path else ():
        config = config[int(step) if isinstance(config, (list, tuple)) else step]
    return next((inner for inner, node in _dicts(config, '') if key in node), None)


def _without_type(config: Any) -> Any:
    return {key: value for key, value in config.items() if key != 'type'} if isinstance(config, Mapping) else config


def _advice(component: Any, key: str) -> str:
    component = inspect.unwrap(component) if callable(component) else component
    names: list[str] = []
    for base in inspect.getmro(component) if inspect.isclass(component) else ():
        if '__init__' in vars(base) and base is not object:
            parameters = inspect.signature(vars(base)['__init__']).parameters
            names += parameters
            if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
                break  # it hands nothing on to its base class
    names = [name for name in names if name not in ('self', 'args', 'kwargs')]
    return closest(key, names) if names else 'correct the key, or remove it'


def _path_of_type(config: Any, name: str) -> str | None:
    """Key path of the first dict below ``config`` whose type is ``name``."""
    return next((path for path, node in _dicts(config, '') if node.get('type') == name), None)


def _dicts(node: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every dict of a config, with its key path."""
    if isinstance(node, Mapping):
        yield path, node
    children = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, child in children:
        yield from _dicts(child, join_path(path, str(key)))
