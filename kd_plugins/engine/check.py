"""The check of a config as a function: what ``kd check`` prints."""

from __future__ import annotations

from typing import Any

from kd_plugins.engine.cache_config import leave_out_missing_cache
from kd_plugins.engine.config import set_run_defaults
from kd_plugins.engine.launch import complete_config
from kd_plugins.preflight import Findings, inspect_training


def check(config: Any) -> Findings:
    """Build both models of a config, send a small batch through them, and find all that is wrong.

    Data, weights and a teacher cache need not be there: their lack is a warning.

    Args:
        config: The whole config, of :func:`kd_plugins.engine.config.load_config`. It is completed as for a training:
            its distiller is made explicit, with connectors worked out.

    Returns:
        Errors, as ``faults``, warnings and what was measured.

    Raises:
        UserError: The config cannot be completed.
    """
    missing = leave_out_missing_cache(config)
    complete_config(config)
    set_run_defaults(config)
    findings = inspect_training(config, ready=False)
    findings.warnings += missing
    return findings
