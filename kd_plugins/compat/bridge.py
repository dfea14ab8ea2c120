"""Whether the mmrazor package, which :mod:`kd_plugins.mmrazor_import` lets import, can be imported."""

from __future__ import annotations

import importlib
import importlib.util
import sys

from kd_plugins.errors import Fault, UserError, describe_error
from kd_plugins.mmrazor_import import BROKEN, COVERED, BackendConfigLoader, BridgeFinder, install

__all__ = ['BROKEN', 'COVERED', 'BackendConfigLoader', 'BridgeFinder', 'install', 'require_mmrazor']

# mmrazor imports them and does not declare them
UNDECLARED = ('joblib', 'scipy')
INSTALL = "pip install 'kd_plugins[parity]'"


def require_mmrazor(where: str) -> None:
    """Make sure that mmrazor can be imported.

    Args:
        where: Who asks for it, for the message.

    Raises:
        UserError: It or what it needs is not installed, or not in versions that go together.
    """
    missing = [name for name in ('mmrazor', *UNDECLARED) if not _is_there(name)]
    if missing:
        got = f'none of {", ".join(missing)}' if len(missing) > 1 else f'no {missing[0]}'
        raise UserError(Fault(where, 'the package mmrazor and what it imports', got, INSTALL))
    try:
        importlib.import_module('mmrazor')
        importlib.import_module('mmrazor.models')
    except Exception as error:
        # it checks the version of mmengine with assert, and imports much of torch
        got = f'one that cannot be imported ({describe_error(error, 200)})'
        advice = f'{INSTALL}, which takes the version that is known to work (mmrazor 1.0.0)'
        raise UserError(Fault(where, 'a package mmrazor that imports', got, advice)) from error


def _is_there(name: str) -> bool:
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except ValueError:
        return False
