import subprocess
import sys

import pytest
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope

from kd_plugins import registry

# what MMRazor's distillation configs name
MMRAZORS = {
    'MODELS': """
        SingleTeacherDistill SelfDistill FpnTeacherDistill OverhaulFeatureDistillation DataFreeDistillation
        DAFLDataFreeDistillation ConfigurableDistiller BYOTDistiller OFDDistiller DAFLGenerator ZSKTGenerator
        ConvModuleConnector TorchFunctionalConnector TorchNNConnector NormConnector Paraphraser Translator
        FBKDStudentConnector FBKDTeacherConnector MGDConnector OFDTeacherConnector CRDConnector BYOTConnector
        KLDivergence KDSoftCELoss CrossEntropyLoss L1Loss L2Loss ABLoss ATLoss ActivationLoss OnehotLikeLoss
        InformationEntropyLoss ChannelWiseDivergence CRDLoss DISTLoss DKDLoss FTLoss FBKDLoss MGDLoss OFDLoss PKDLoss
        DistanceWiseRKD AngleWiseRKD WSLD
    """,
    'TASK_UTILS': """
        ModuleOutputsRecorder ModuleInputsRecorder FunctionOutputsRecorder FunctionInputsRecorder MethodOutputsRecorder
        MethodInputsRecorder ParameterRecorder FunctionOutputsDelivery MethodOutputsDelivery
    """,
    'DATASETS': 'CRDDataset',
    'TRANSFORMS': 'PackCRDClsInputs',
    'HOOKS': 'StopDistillHook',
    'LOOPS': 'SingleTeacherDistillValLoop SelfDistillValLoop',
    'OPTIM_WRAPPER_CONSTRUCTORS': 'SeparateOptimWrapperConstructor',
}
OURS = {
    'MODELS': """
        BinaryKLDivergence LinearConnector MapToTokensConnector ResizeConnector TokensToMapConnector MultiTeacherDistill
    """,
    'TASK_UTILS': """
        ModuleOutputs ModuleInputs FunctionOutputs FunctionInputs MethodOutputs MethodInputs Parameter
        ModuleOutputGrads ModuleOutputGradsRecorder AveragedLogits
    """,
    'HOOKS': 'DistillScheduleHook',
}


@pytest.mark.parametrize('name', MMRAZORS)
def test_registries_are_children_of_mmengines_in_our_scope(name):
    ours = getattr(registry, name)
    assert ours.scope == 'kd_plugins'
    assert ours.parent.scope == 'mmengine'
    assert ours.parent.children['kd_plugins'] is ours


@pytest.mark.parametrize(
    ('kind', 'name'),
    [(kind, name) for names in (MMRAZORS, OURS) for kind, listed in names.items() for name in listed.split()],
)
def test_components_are_found_from_any_scope_by_their_prefix(kind, name):
    ours = getattr(registry, kind)
    assert ours.get(name) is not None
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        assert ours.parent.get(f'kd_plugins.{name}') is ours.get(name)


def test_an_unknown_name_is_not_found():
    assert registry.MODELS.get('L3Loss') is None


def test_a_duplicate_name_raises():
    with pytest.raises(KeyError, match='already registered'):
        registry.MODELS.register_module(name='L2Loss', module=dict)


@pytest.mark.slow
def test_a_fresh_process_finds_a_type_without_importing_us_and_an_import_is_lazy():
    code = (
        'from mmengine.registry import MODELS, LOOPS\n'
        "assert MODELS.build(dict(type='kd_plugins.L2Loss', mult=2)).mult == 2\n"
        "assert LOOPS.get('kd_plugins.SingleTeacherDistillValLoop')\n"
    )
    subprocess.run([sys.executable, '-c', code], check=True, timeout=120)
    code = 'import sys, kd_plugins\nassert not [name for name in sys.modules if name.startswith("mmpretrain")]'
    subprocess.run([sys.executable, '-c', code], check=True, timeout=120)


def test_root_registry_builds_ours():
    assert MMENGINE_MODELS.build(dict(type='kd_plugins.KLDivergence', tau=3)).tau == 3
