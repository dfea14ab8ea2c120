"""Recorders: contexts that tap a model during a forward."""

from kd_plugins.recorders.module_inputs import ModuleInputs
from kd_plugins.recorders.module_outputs import ModuleOutputs
from kd_plugins.recorders.recorder import Recorder
from kd_plugins.recorders.recorder_set import RecorderSet

__all__ = ['ModuleInputs', 'ModuleOutputs', 'Recorder', 'RecorderSet']
