"""Brevitas' layers, imported when they are first asked for."""

from __future__ import annotations

import warnings
from types import ModuleType

from kd_plugins.errors import Fault, UserError

ADVICE = "pip install 'kd_plugins[quantized]'"


def brevitas_layers(where: str = 'type') -> ModuleType:
    """``brevitas.nn``, set up for layers that are trained, saved and resumed by mmengine.

    Args:
        where: Key path of the type that asks for it, for messages.

    Raises:
        UserError: Brevitas is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            import brevitas.config
            import brevitas.nn
    except ImportError as error:
        name = str(error.name).partition('.')[0]
        got = f'{name} is not installed' if isinstance(error, ModuleNotFoundError) else str(error)
        raise UserError(Fault(where, 'Brevitas, which computes quantised layers', got, ADVICE)) from error
    # else each load_state_dict replaces the learned scales by new parameters, which no optimiser knows
    brevitas.config.REINIT_ON_STATE_DICT_LOAD = False
    # Brevitas asks tensors for their names in a way that torch finds worth a warning
    warnings.filterwarnings('ignore', message='Named tensors and all their associated APIs')
    return brevitas.nn
