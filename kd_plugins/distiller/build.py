"""From a config to a distiller."""

from __future__ import annotations

from typing import Any

from kd_plugins.build import build_component, find_component, wrong_base_fault
from kd_plugins.errors import UserError
from kd_plugins.registry import MODELS


def build_distiller(config: Any, where: str) -> Any:
    """Build the distiller of an algorithm.

    Args:
        config: Dict with ``type`` and its arguments.
        where: Key path of ``config``.

    Raises:
        UserError: It is none, or one that derives from a class of MMRazor's, whose recorders are not ours.
    """
    fault = wrong_base_fault(find_component(MODELS, config, where), MODELS, 'distiller')
    if fault is not None:
        raise UserError(fault.within(where))
    return build_component(MODELS, config, where)
