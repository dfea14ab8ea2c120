"""Hooks, loops and command lines around mmengine's Runner."""

from kd_plugins.engine.distill_val_loop import SingleTeacherDistillValLoop
from kd_plugins.engine.log_history_hook import LogHistoryHook
from kd_plugins.engine.mmrazor_checkpoint_hook import MMRazorCheckpointHook
from kd_plugins.engine.progress_hook import ProgressHook
from kd_plugins.engine.stop_distill_hook import StopDistillHook

__all__ = ['LogHistoryHook', 'MMRazorCheckpointHook', 'ProgressHook', 'SingleTeacherDistillValLoop', 'StopDistillHook']
