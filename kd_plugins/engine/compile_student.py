"""``compile=True`` at the top of a config, as mmengine has it, for algorithms that know better what to compile."""

from __future__ import annotations

from typing import Any

from kd_plugins.algorithms import DistillAlgorithm
from kd_plugins.build import find_component
from kd_plugins.errors import UserError
from kd_plugins.registry import MODELS


def compile_student(config: Any) -> None:
    """Have the student compiled where mmengine would compile the whole training step.

    A step of an algorithm enters recorders, runs a teacher and steps an optimiser: compiled as a whole it falls into
    pieces. ``model.compile`` takes the place of ``compile``, unless the config has it already; of a model that is no
    algorithm of this package nothing changes.

    Args:
        config: The whole config, which is changed.
    """
    model = config.get('model')
    if 'compile' not in config or not isinstance(model, dict):
        return
    try:
        kind = find_component(MODELS, model, 'model')
    except UserError:
        return  # the preflight says what is wrong with it
    if isinstance(kind, type) and issubclass(kind, DistillAlgorithm):
        options = config.pop('compile')
        model.setdefault('compile', options)
