"""A trained distillation, with both its models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.registry import DefaultScope

from kd_plugins.algorithms import OneStepDistill
from kd_plugins.build import FALLBACK_SCOPE
from kd_plugins.checkpoint import describe_misfit, read_checkpoint
from kd_plugins.errors import Fault, UserError
from kd_plugins.preflight import build_from_config


def load_algorithm(config: Any, checkpoint: str | Path) -> OneStepDistill:
    """Build the distillation of a config, and give its student and connectors their trained weights.

    Args:
        config: The whole config; connectors that it leaves out are worked out.
        checkpoint: A checkpoint of its training.

    Returns:
        The algorithm, in eval mode.

    Raises:
        UserError: The config is not that of a student and a teacher, or the checkpoint is not one of its training.
    """
    with DefaultScope.overwrite_default_scope(config.get('default_scope') or FALLBACK_SCOPE):
        algorithm = build_from_config(config)
    if not isinstance(algorithm, OneStepDistill):
        got, advice = f'a {type(algorithm).__name__}', 'give the config of a distillation'
        raise UserError(Fault('model', 'a student, and a distiller for it', got, advice))
    content = read_checkpoint(checkpoint, 'CHECKPOINT')
    misfit = describe_misfit(algorithm, content.get('state_dict', content))
    if misfit:
        advice = 'give a checkpoint that was trained with this config'
        raise UserError(Fault('CHECKPOINT', 'a checkpoint of the training', f'{checkpoint}, with {misfit}', advice))
    return algorithm.eval()
