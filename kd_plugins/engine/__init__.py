"""Hooks, loops and command lines around mmengine's Runner."""

from kd_plugins.engine.distill_val_loop import SingleTeacherDistillValLoop
from kd_plugins.engine.log_history_hook import LogHistoryHook
from kd_plugins.engine.mmrazor_checkpoint_hook import MMRazorCheckpointHook
from kd_plugins.engine.progress_hook import ProgressHook
from kd_plugins.engine.self_distill_val_loop import SelfDistillValLoop
from kd_plugins.engine.separate_optim_wrapper_constructor import SeparateOptimWrapperConstructor
from kd_plugins.engine.stop_distill_hook import StopDistillHook

__all__ = [
    'LogHistoryHook',
    'MMRazorCheckpointHook',
    'ProgressHook',
    'SelfDistillValLoop',
    'SeparateOptimWrapperConstructor',
    'SingleTeacherDistillValLoop',
    'StopDistillHook',
]
