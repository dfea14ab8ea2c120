"""The model of a runner, without what wraps it for several processes."""

from __future__ import annotations

from typing import Any

from mmengine.model import is_model_wrapper


def model_of(runner: Any) -> Any:
    """The model itself that a runner trains."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
