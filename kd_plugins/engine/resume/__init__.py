"""A training that is stopped anywhere and resumed goes on as if it had not been."""

from kd_plugins.engine.resume.choice import choose_checkpoint
from kd_plugins.engine.resume.epoch_loop import ResumableEpochLoop
from kd_plugins.engine.resume.iter_loop import ResumableIterLoop
from kd_plugins.engine.resume.runner import ResumableRunner, build_runner
from kd_plugins.engine.resume.whole_checkpoint_hook import WholeCheckpointHook

__all__ = [
    'ResumableEpochLoop',
    'ResumableIterLoop',
    'ResumableRunner',
    'WholeCheckpointHook',
    'build_runner',
    'choose_checkpoint',
]
