"""Config files that name mmcls are read with mmpretrain's configs."""

import sys
from functools import partial

import pytest
from mmengine.config import Config

from kd_plugins.compat import reading
from kd_plugins.compat.reading import names_of_today, read_config, read_package_config, rename_config
from kd_plugins.errors import UserError


def write(tmp_path, text):
    path = tmp_path / 'config.py'
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ('written', 'found'),
    [
        ('mmcls::_base_/default_runtime.py', 'mmpretrain::_base_/default_runtime.py'),
        ('mmcls::deit/deit-base_pt-16xb64_in1k.py', 'mmpretrain::deit/deit-base_16xb64_in1k.py'),
        ('mmcls::nowhere/no_pt-model.py', 'mmpretrain::nowhere/no_pt-model.py'),
        ('mmpretrain::deit/deit-base_pt-16xb64_in1k.py', 'mmpretrain::deit/deit-base_pt-16xb64_in1k.py'),
        ('mmdet::retinanet/x.py', 'mmdet::retinanet/x.py'),
        ('./mmcls.py', './mmcls.py'),
        ('mmcls', 'mmcls'),
    ],
)
def test_names_of_config_files(written, found):
    assert rename_config(written) == found


def test_hyphens_of_today_are_found(tmp_path):
    for name in ('faster-rcnn_r50.py', 'mask-rcnn_r50.py', 'a_b-c.py', 'a-b_c.py'):
        (tmp_path / 'faster_rcnn').mkdir(exist_ok=True)
        (tmp_path / 'faster_rcnn' / name).touch()
    found = partial(reading._with_hyphens, tmp_path)
    assert found('faster_rcnn/faster_rcnn_r50.py') == 'faster_rcnn/faster-rcnn_r50.py'
    assert found('faster_rcnn/faster-rcnn_r50.py') == 'faster_rcnn/faster-rcnn_r50.py'
    # none, or which of two?
    assert found('faster_rcnn/retina_r50.py') == 'faster_rcnn/retina_r50.py'
    assert found('faster_rcnn/a_b_c.py') == 'faster_rcnn/a_b_c.py'


def test_bases_of_mmcls_are_mmpretrains(tmp_path):
    bases = "['mmcls::_base_/default_runtime.py', 'mmcls::_base_/schedules/imagenet_bs256.py']"
    config, notes = read_config(write(tmp_path, f"_base_ = {bases}\nmodel = dict(type='X')\n"))
    assert config.default_scope == 'mmpretrain'
    assert config.train_cfg.max_epochs == 100
    assert notes == ['mmcls:: -> mmpretrain:: in _base_: _base_/default_runtime.py, _base_/schedules/imagenet_bs256.py']


def test_a_variable_of_a_base_keeps_the_scope_it_is_from(tmp_path):
    text = "_base_ = ['mmcls::resnet/resnet18_8xb32_in1k.py']\nstudent = _base_.model\n"
    config, _ = read_config(write(tmp_path, text))
    assert config.student._scope_ == 'mmpretrain'


def test_mmengine_is_left_as_it_was(tmp_path):
    before = Config._get_cfg_path
    with pytest.raises(OSError, match='nowhere'), names_of_today():
        Config.fromfile('nowhere.py')
    assert Config._get_cfg_path is before
    with pytest.raises(Exception, match='mmcls'):
        Config.fromfile(write(tmp_path, "_base_ = ['mmcls::_base_/default_runtime.py']\n"))


def test_a_native_file_is_read_as_it_is(tmp_path):
    path = write(tmp_path, "model = dict(type='SingleTeacherDistill')\n")
    config, notes = read_config(path)
    assert config._cfg_dict == Config.fromfile(path)._cfg_dict
    assert notes == []


def test_a_config_of_mmrazors_that_inherits_from_mmcls():
    pytest.importorskip('mmrazor', reason='pip install kd_plugins[parity]')
    config = read_package_config('mmrazor::vanilla/mmcls/wide-resnet/wrn28-w4_b16x8_cifar10.py')
    assert config.model.backbone.depth == 28
    assert config.train_dataloader.dataset.type == 'CIFAR10'


def test_custom_imports(tmp_path, monkeypatch):
    (tmp_path / 'their_losses.py').write_text('')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, 'their_losses', raising=False)
    imports = "dict(imports=['their_losses', 'mmcls.models', 'mmrazor.nonsense'], allow_failed_imports=False)"
    text = f"custom_imports = {imports}\nmodel = dict(_scope_='mmrazor', type='SingleTeacherDistill')\n"
    config, notes = read_config(write(tmp_path, text))
    assert config.custom_imports == dict(imports=['their_losses', 'mmpretrain.models'], allow_failed_imports=False)
    assert 'their_losses' in sys.modules
    assert notes == [
        'custom_imports: mmcls.models -> mmpretrain.models',
        'custom_imports: without mmrazor.nonsense; types of mmrazor are found without it',
    ]


def test_custom_imports_of_a_native_config_are_all_imported(tmp_path):
    text = "custom_imports = dict(imports='mmrazor.nonsense')\nmodel = dict(type='SingleTeacherDistill')\n"
    with pytest.raises(UserError, match=r"^custom_imports\.imports: .*no module named 'mmrazor\.nonsense'"):
        read_config(write(tmp_path, text))
