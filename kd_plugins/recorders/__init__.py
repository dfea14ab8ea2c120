"""Recorders: contexts that tap a model during a forward."""

from kd_plugins.recorders.averaged_logits import AveragedLogits
from kd_plugins.recorders.compiled import compile_recorded, guard_hooks
from kd_plugins.recorders.function_inputs import FunctionInputs
from kd_plugins.recorders.function_outputs import FunctionOutputs
from kd_plugins.recorders.method_inputs import MethodInputs
from kd_plugins.recorders.method_outputs import MethodOutputs
from kd_plugins.recorders.module_inputs import ModuleInputs
from kd_plugins.recorders.module_output_grads import ModuleOutputGrads
from kd_plugins.recorders.module_outputs import ModuleOutputs
from kd_plugins.recorders.parameter import Parameter
from kd_plugins.recorders.recorder import Recorder
from kd_plugins.recorders.recorder_set import RecorderSet
from kd_plugins.recorders.tensors import map_tensors

# as MMRazor calls the classes
FunctionInputsRecorder = FunctionInputs
FunctionOutputsRecorder = FunctionOutputs
MethodInputsRecorder = MethodInputs
MethodOutputsRecorder = MethodOutputs
ModuleInputsRecorder = ModuleInputs
ModuleOutputsRecorder = ModuleOutputs
ParameterRecorder = Parameter

__all__ = [
    'AveragedLogits',
    'FunctionInputs',
    'FunctionInputsRecorder',
    'FunctionOutputs',
    'FunctionOutputsRecorder',
    'MethodInputs',
    'MethodInputsRecorder',
    'MethodOutputs',
    'MethodOutputsRecorder',
    'ModuleInputs',
    'ModuleInputsRecorder',
    'ModuleOutputGrads',
    'ModuleOutputs',
    'ModuleOutputsRecorder',
    'Parameter',
    'ParameterRecorder',
    'Recorder',
    'RecorderSet',
    'compile_recorded',
    'guard_hooks',
    'map_tensors',
]
