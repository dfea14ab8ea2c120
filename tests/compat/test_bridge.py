"""The installed mmrazor imports, works inside ours, and ours inside it; what keeps it from that is said once."""

import importlib
import subprocess
import sys
import types

import mmcv
import pytest
import torch
from mmengine.registry import MODELS
from torch import nn
from toy import algorithm_config, logits_only, toy_batch

from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.compat import bridge
from kd_plugins.errors import UserError

needs_mmrazor = pytest.mark.skipif(not bridge._is_there('mmrazor'), reason='pip install kd_plugins[parity]')


@pytest.fixture
def without_mmrazor():
    """As if mmrazor had not been imported yet; what a test imports instead is forgotten again."""
    before = {name: sys.modules.pop(name) for name in _imported()}
    yield
    for name in _imported():
        del sys.modules[name]
    sys.modules.update(before)


def _imported():
    return [name for name in sys.modules if name.split('.')[0] == 'mmrazor']


@needs_mmrazor
@pytest.mark.parametrize('first', ['import kd_plugins.algorithms', 'import kd_plugins.compat.mmrazor'])
def test_mmrazor_imports_in_a_fresh_process_and_one_line_says_what_is_covered(first):
    program = f'{first}\nimport mmrazor.models, mmrazor.datasets, mmrazor.engine\nprint("good")'
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', program], capture_output=True, text=True, timeout=180)
    assert done.stdout == 'good\n', done.stderr
    assert [line for line in done.stderr.splitlines() if 'mmrazor' in line] == [bridge.COVERED]


def test_answers_for_no_other_module():
    finder = bridge.BridgeFinder()
    for name in ('mmrazor.version', 'mmrazor.structures', f'{bridge.BROKEN}.native', 'torch', 'mmrazor.nonsense'):
        assert finder.find_spec(name) is None


def test_installing_twice_installs_once():
    bridge.install()
    bridge.install()
    assert sum(isinstance(finder, bridge.BridgeFinder) for finder in sys.meta_path) == 1


@pytest.mark.parametrize(
    ('text', 'backends', 'said'),
    [
        ("from . import part\nBackendConfigs = {'native': part.VALUE}\n", {'native': 1}, ''),
        ("from . import part\nraise ImportError('torch is too new')\n", {}, bridge.COVERED),
        ('from . import part\nimport torch\ntorch.gone_since_2\n', {}, bridge.COVERED),
    ],
)
def test_the_real_module_comes_first(tmp_path, monkeypatch, capsys, without_mmrazor, text, backends, said):
    folder = tmp_path.joinpath(*bridge.BROKEN.split('.'))
    folder.mkdir(parents=True)
    for parent in list(folder.parents)[: len(bridge.BROKEN.split('.')) - 1]:
        (parent / '__init__.py').write_text('')
    (folder / '__init__.py').write_text(text)
    (folder / 'part.py').write_text('VALUE = 1\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module(bridge.BROKEN)
    assert module.BackendConfigs == backends
    assert capsys.readouterr().err.strip() == said
    # what was left of the failed import would pass for the real thing
    assert (f'{bridge.BROKEN}.part' in sys.modules) == (not said)


def test_an_error_of_another_kind_passes():
    spec = types.SimpleNamespace(exec_module=lambda module: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bridge.BackendConfigLoader(spec).exec_module(types.ModuleType(bridge.BROKEN))


@pytest.mark.parametrize('absent', [['mmrazor'], ['joblib'], ['joblib', 'scipy']])
def test_what_is_not_installed_is_named(monkeypatch, absent):
    monkeypatch.setattr(bridge, '_is_there', lambda name: name not in absent)
    with pytest.raises(UserError) as error:
        bridge.require_mmrazor('model.type')
    (fault,) = error.value.faults
    assert fault.where == 'model.type'
    assert all(name in fault.got for name in absent)
    assert 'pip install' in fault.advice


def test_versions_that_do_not_go_together(tmp_path, monkeypatch, without_mmrazor):
    (tmp_path / 'mmrazor').mkdir()
    (tmp_path / 'mmrazor' / '__init__.py').write_text("assert False, 'MMEngine==2.0.0 is used but incompatible'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(bridge, 'UNDECLARED', ())
    with pytest.raises(UserError, match=r'MMEngine==2\.0\.0 is used.*mmrazor 1\.0\.0'):
        bridge.require_mmrazor('model.type')


@pytest.mark.parametrize(('installed', 'shown'), [('2.0.1', '2.0.1'), ('2.1.0', '2.1.0'), ('2.3.6', '2.1.0')])
def test_a_later_mmcv_is_shown_as_the_last_that_mmrazor_admits(
    tmp_path, monkeypatch, without_mmrazor, installed, shown
):
    (tmp_path / 'mmrazor').mkdir()
    (tmp_path / 'mmrazor' / '__init__.py').write_text('import mmcv\nversion = mmcv.__version__\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(mmcv, '__version__', installed)
    module = importlib.import_module('mmrazor')
    assert module.version == shown
    assert mmcv.__version__ == installed


@needs_mmrazor
def test_a_loss_registered_in_mmrazors_registry_works_in_our_distiller():
    bridge.require_mmrazor('test')
    theirs = importlib.import_module('mmrazor.registry').MODELS

    class TheirDistance(nn.Module):
        def forward(self, preds_S, preds_T):  # noqa: N803
            return (preds_S - preds_T).square().sum()

    theirs.register_module(module=TheirDistance)
    distiller = logits_only()
    distiller['distill_losses'] = dict(loss_logits=dict(type='mmrazor.TheirDistance'))
    try:
        algorithm = SingleTeacherDistill(**algorithm_config(distiller=distiller)).eval()
        batch = toy_batch()
        losses = algorithm(**batch, mode='loss')
        student, teacher = (model(batch['inputs']) for model in (algorithm.student, algorithm.teacher))
        torch.testing.assert_close(losses['distill.loss_logits'], (student - teacher).square().sum())
    finally:
        del theirs.module_dict['TheirDistance']


@needs_mmrazor
def test_our_components_work_in_mmrazors_own_algorithm():
    bridge.require_mmrazor('test')
    from mmrazor.models import SingleTeacherDistill

    config = dict(
        type='mmrazor.SingleTeacherDistill',
        architecture=dict(type='ToyClassifier', channels=4),
        teacher=dict(type='ToyClassifier', channels=6),
        distiller=dict(
            type='mmrazor.ConfigurableDistiller',
            student_recorders=dict(map=dict(type='ModuleOutputs', source='conv1')),
            teacher_recorders=dict(map=dict(type='ModuleOutputs', source='conv1')),
            connectors=dict(wider=dict(type='kd_plugins.ConvModuleConnector', in_channel=4, out_channel=6)),
            distill_losses=dict(loss_map=dict(type='kd_plugins.L2Loss', loss_weight=2.0)),
            loss_forward_mappings=dict(
                loss_map=dict(
                    s_feature=dict(from_student=True, recorder='map', connector='wider'),
                    t_feature=dict(from_student=False, recorder='map'),
                )
            ),
        ),
    )
    algorithm = MODELS.build(config)
    assert type(algorithm) is SingleTeacherDistill
    losses = algorithm(**toy_batch(), mode='loss')
    losses['distill.loss_map'].backward()
    connector = algorithm.distiller.connectors['wider']
    assert type(connector).__module__.startswith('kd_plugins.')
    assert all(parameter.grad is not None for parameter in connector.parameters())
