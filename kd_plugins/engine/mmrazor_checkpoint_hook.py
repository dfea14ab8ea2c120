"""Hook that lets a run go on from a checkpoint of MMRazor."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from kd_plugins.compat.checkpoint import convert_optimizer
from kd_plugins.engine.model_of import model_of
from kd_plugins.registry import HOOKS


@HOOKS.register_module()
class MMRazorCheckpointHook(Hook):
    """Brings the optimiser of MMRazor's checkpoints into the order of ours when a run is resumed."""

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Convert what was loaded, before the runner takes it over."""
        convert_optimizer(checkpoint, model_of(runner), '--resume')
