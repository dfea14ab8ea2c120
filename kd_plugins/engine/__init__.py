"""Hooks, loops and command lines around mmengine's Runner."""

from kd_plugins.engine.bad_files_hook import BadFilesHook
from kd_plugins.engine.cpu_amp_optim_wrapper import CPUAmpOptimWrapper
from kd_plugins.engine.distill_schedule_hook import DistillScheduleHook
from kd_plugins.engine.distill_val_loop import SingleTeacherDistillValLoop
from kd_plugins.engine.finite_loss_hook import FiniteLossHook
from kd_plugins.engine.log_history_hook import LogHistoryHook
from kd_plugins.engine.mmrazor_checkpoint_hook import MMRazorCheckpointHook
from kd_plugins.engine.progress_hook import ProgressHook
from kd_plugins.engine.resume import WholeCheckpointHook
from kd_plugins.engine.self_distill_val_loop import SelfDistillValLoop
from kd_plugins.engine.separate_optim_wrapper_constructor import SeparateOptimWrapperConstructor
from kd_plugins.engine.stop_distill_hook import StopDistillHook
from kd_plugins.engine.stop_on_signal_hook import StopOnSignalHook

__all__ = [
    'BadFilesHook',
    'CPUAmpOptimWrapper',
    'DistillScheduleHook',
    'FiniteLossHook',
    'LogHistoryHook',
    'MMRazorCheckpointHook',
    'ProgressHook',
    'SelfDistillValLoop',
    'SeparateOptimWrapperConstructor',
    'SingleTeacherDistillValLoop',
    'StopDistillHook',
    'StopOnSignalHook',
    'WholeCheckpointHook',
]
