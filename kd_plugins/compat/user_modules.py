"""Imports the modules that a config's ``custom_imports`` names, and says where one of them fails."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Sequence

from mmengine.utils import import_modules_from_strings

from kd_plugins.errors import Fault, UserError, describe_error

WHERE = 'custom_imports.imports'


def import_user_modules(imports: Sequence[str], allow_failed_imports: bool = False) -> None:
    """Import modules as mmengine does, which keeps to itself why one cannot be imported.

    Args:
        imports: Names of modules.
        allow_failed_imports: Go on with a warning where one raises an ``ImportError``.

    Raises:
        UserError: A module is not found, or raises something while it is imported; the message has the file and line.
    """
    for name in imports:
        if allow_failed_imports:
            import_modules_from_strings([name], allow_failed_imports=True)
            continue
        try:
            importlib.import_module(name)
        except UserError:
            raise
        except Exception as error:  # the module is the user's own: whatever it raises is theirs to correct
            raise UserError(_explain(name, error)) from error


def _explain(name: str, error: Exception) -> Fault:
    absent = error.name if isinstance(error, ModuleNotFoundError) else None
    if absent is not None and f'{name}.'.startswith(f'{absent}.'):
        got = f'{name!r}: no module named {absent!r}'
        advice = 'correct the name, or start where it is found: PYTHONPATH=FOLDER python tools/…'
        return Fault(WHERE, 'modules that can be imported', got, advice)
    place = _place_of(name, error)
    got = f'{name!r}: {describe_error(error, 400)}'
    advice = f'install {absent.partition(".")[0]}, or correct the import' if absent else 'correct the module'
    return Fault(WHERE, 'modules that can be imported', got, f'{advice}{f" ({place})" if place else ""}')


def _place_of(name: str, error: Exception) -> str:
    """File and line of what fails: the innermost one of the user's package, whatever a library raises further in."""
    if isinstance(error, SyntaxError) and error.filename:
        return f'{error.filename}, line {error.lineno}'
    package = name.partition('.')[0]
    own = [
        f'{frame.f_code.co_filename}, line {line}'
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get('__name__')).partition('.')[0] == package
    ]
    return own[-1] if own else ''
