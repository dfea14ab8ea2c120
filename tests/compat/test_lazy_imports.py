"""Classes that configs import: MMRazor's become ours, and a wrong import is one message."""

import importlib
import subprocess
import sys

import pytest

pytest.importorskip('mmrazor', reason='pip install kd_plugins[parity]')

from mmengine.config import Config
from mmengine.registry import Registry

from kd_plugins.compat.names import OWN_REGISTRIES, is_own_name
from kd_plugins.engine.config import load_config
from kd_plugins.errors import UserError
from kd_plugins.losses import KLDivergence
from kd_plugins.recorders import ModuleOutputs
from kd_plugins.registry import MODELS

MMRAZORS = """\
from mmengine.config import read_base
from mmrazor.models.algorithms import SingleTeacherDistill
from mmrazor.models.distillers import ConfigurableDistiller
from mmrazor.models.losses import KLDivergence
from mmrazor.models.task_modules import ModuleOutputsRecorder
from torch.optim import SGD

optim_wrapper = dict(optimizer=dict(type=SGD, lr=0.1))
fc = dict(fc=dict(type=ModuleOutputsRecorder, source='head.fc'))
model = dict(
    type=SingleTeacherDistill,
    architecture=dict(cfg_path='mmcls::resnet/resnet18_8xb32_in1k.py'),
    teacher=dict(cfg_path='mmcls::resnet/resnet34_8xb32_in1k.py'),
    distiller=dict(
        type=ConfigurableDistiller,
        student_recorders=fc,
        teacher_recorders=fc,
        distill_losses=dict(loss_kl=dict(type=KLDivergence, tau=4)),
        loss_forward_mappings=dict(
            loss_kl=dict(
                preds_S=dict(recorder='fc', from_student=True), preds_T=dict(recorder='fc', from_student=False)
            )
        ),
    ),
)
"""


def write(tmp_path, text):
    path = tmp_path / 'config.py'
    path.write_text(text)
    return path


def test_a_pure_python_config_of_mmrazor_is_read_as_its_text_would_be(tmp_path, capsys):
    config = load_config(write(tmp_path, MMRAZORS))
    said = capsys.readouterr().err
    assert '\n  mmrazor.X -> kd_plugins.X: ModuleOutputsRecorder, SingleTeacherDistill, ConfigurableDistiller, ' in said
    text = MMRAZORS.replace('type=SGD', "type='torch.optim.SGD'")
    text = '\n'.join(line for line in text.split('\n') if not line.startswith('from '))
    for name in ('SingleTeacherDistill', 'ConfigurableDistiller', 'KLDivergence', 'ModuleOutputsRecorder'):
        text = text.replace(f'type={name}', f"type='mmrazor.{name}'")
    assert config.to_dict() == load_config(write(tmp_path, text)).to_dict()


def test_a_class_in_a_text_config_too(tmp_path):
    bases = "_base_ = ['mmcls::_base_/default_runtime.py']\n"
    own = '_mmrazor = __import__("kd_plugins.losses", fromlist=["x"])\n'
    text = f"{bases}{own}model = dict(type='SingleTeacherDistill', loss=dict(type=_mmrazor.KLDivergence))\n"
    config = load_config(write(tmp_path, text))
    assert config.model.loss.type is KLDivergence
    config.dump(tmp_path / 'dumped.py')
    again = Config.fromfile(tmp_path / 'dumped.py').model.loss.type
    assert MODELS.get(again) is KLDivergence


@pytest.mark.parametrize(
    ('before', 'after', 'line', 'expected', 'advice'),
    [
        ('losses import KLDivergence', 'losses import KLDivergenc as KLDivergence', 4, 'a name that', "'KLDivergence'"),
        ('models.losses', 'models.lossess', 4, 'a module that can be imported', 'correct the import'),
        ('from torch.optim import SGD', 'from torch.optim import SDG as SGD', 6, 'a name that torch.optim has', 'SGD'),
        ('from torch.optim', 'from torch.optm', 6, 'a module that can be imported', 'correct the import'),
        ('from torch.optim', 'from .optim', 6, 'an absolute import', 'read_base'),
        ('from torch.optim import SGD', 'import torch.optm as optim', 6, 'a module that can be', 'correct the import'),
        ('from torch.optim import SGD', 'import torch.optim', 6, 'a name that torch.optim has', 'SGD'),
    ],
)
def test_a_wrong_import_is_one_message(tmp_path, before, after, line, expected, advice):
    assert before in MMRAZORS
    text = MMRAZORS.replace(before, after)
    if after == 'import torch.optim':
        text = text.replace('type=SGD', 'type=torch.optim.SDG')
    elif ' as optim' in after:
        text = text.replace('type=SGD', 'type=optim.SGD')
    path = write(tmp_path, text)
    with pytest.raises(UserError) as error:
        load_config(path)
    (fault,) = error.value.faults
    assert fault.where == f'{path}, line {line}'
    assert fault.expected.startswith(expected)
    assert advice in fault.advice


def test_all_wrong_imports_are_named(tmp_path):
    text = MMRAZORS.replace('from torch.optim', 'from torch.optm').replace('models.losses', 'models.lossess')
    with pytest.raises(UserError) as error:
        load_config(write(tmp_path, text))
    assert [fault.where.rpartition(' ')[2] for fault in error.value.faults] == ['6', '4']


def test_an_import_that_is_not_used_is_not_carried_out(tmp_path):
    text = 'from no_such_library import thing\n' + MMRAZORS
    assert load_config(write(tmp_path, text)).model.type == 'kd_plugins.SingleTeacherDistill'


def test_the_tool_says_it_in_one_message(tmp_path, capsys):
    path = write(tmp_path, MMRAZORS.replace('from torch.optim', 'from torch.optm'))
    command = [sys.executable, 'tools/check_config.py', str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert 'Traceback' not in done.stderr
    assert f'error: {path}, line 6' in done.stderr


def test_what_we_lack_stays_mmrazors(tmp_path):
    text = 'from mmrazor.models.architectures.backbones import WideResNet\n' + MMRAZORS
    text = text.replace(
        "architecture=dict(cfg_path='mmcls::resnet/resnet18_8xb32_in1k.py')", 'architecture=dict(type=WideResNet)'
    )
    assert load_config(write(tmp_path, text)).model.architecture.type == 'mmrazor.WideResNet'


def test_their_classes_are_imported_from_where_ours_live():
    importlib.import_module('kd_plugins.compat.mmrazor')
    theirs = importlib.import_module('mmrazor.registry')
    importlib.import_module('mmrazor.models')
    homes = {}
    for own in OWN_REGISTRIES:
        own.import_from_location()
        homes.update({name: component.__module__.split('.')[1] for name, component in own.module_dict.items()})
    names = {
        name
        for kind in vars(theirs).values()
        if isinstance(kind, Registry)
        for name, component in kind.module_dict.items()
        if is_own_name(name) and component.__name__ == name and component.__module__.startswith('mmrazor.')
    }
    assert names > {'ModuleOutputsRecorder', 'ParameterRecorder', 'FunctionOutputsDelivery', 'KLDivergence', 'FTLoss'}
    lacking = [name for name in names if not hasattr(importlib.import_module(f'kd_plugins.{homes[name]}'), name)]
    assert lacking == []


def test_the_alias_is_the_class():
    assert importlib.import_module('kd_plugins.recorders').ModuleOutputsRecorder is ModuleOutputs
