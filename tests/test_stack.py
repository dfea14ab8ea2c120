"""Which packages bring a library, and what detectors and segmentors lack here."""

import importlib.util
from importlib.metadata import version

import pytest

from kd_plugins import stack
from kd_plugins.build import build_model
from kd_plugins.engine.config import load_config
from kd_plugins.errors import UserError
from tools import check_config


@pytest.fixture(params=[('mmdet',), ('mmcv._ext',), ('mmdet', 'mmseg', 'mmcv._ext')], ids=' '.join)
def absent(request, monkeypatch):
    """What cannot be imported; all else of a dense installation can."""
    present = {'mmdet', 'mmseg', 'mmcv._ext'} - set(request.param)
    real = importlib.util.find_spec

    def find_spec(name, package=None):
        if name in request.param:
            return None
        return real('torch') if name in present else real(name, package)

    monkeypatch.setattr(importlib.util, 'find_spec', find_spec)
    return request.param


def test_a_package_is_named_with_its_version():
    package, found = stack.installed_package('mmcv')
    assert package in stack.PACKAGES['mmcv']
    assert found == version(package)
    assert stack.installed_package('torch') == ('torch', version('torch'))
    assert stack.installed_package('a_library_of_nobody') is None


def test_what_is_lacking_is_said_with_the_command(absent):
    with pytest.raises(UserError) as error:
        stack.require_operators('mmdet', 'default_scope')
    (fault,) = error.value.faults
    assert fault.where == 'default_scope'
    assert ('no mmdet' in fault.got) == ('mmdet' in absent)
    assert ('without them' in fault.got) == ('mmcv._ext' in absent)
    assert 'make install STACK=onedl DENSE=1' in fault.advice


@pytest.mark.parametrize('library', ['mmpretrain', 'mmengine', None])
def test_other_libraries_need_no_operators(absent, library):
    stack.require_operators(library, 'default_scope')


@pytest.mark.parametrize(
    ('text', 'where'),
    [
        ("_base_ = ['mmdet::_base_/default_runtime.py']\nmodel = dict(type='X')\n", '_base_'),
        ("default_scope = 'mmdet'\nmodel = dict(type='X')\n", 'default_scope'),
        ("model = dict(type='X', architecture=dict(type='mmdet.RetinaNet'))\n", 'model.architecture.type'),
        ("model = dict(type='X', teacher=dict(_scope_='mmdet', type='RetinaNet'))\n", 'model.teacher._scope_'),
        ("model = dict(type='X')\ncustom_hooks = [dict(type='mmdet.X')]\n", 'custom_hooks.0.type'),
    ],
)
def test_a_config_of_detectors_is_refused_in_one_message(absent, tmp_path, capsys, text, where):
    path = tmp_path / 'config.py'
    path.write_text(text)
    with pytest.raises(UserError, match=stack.BUILD_OPERATORS.split(',')[0]):
        load_config(path)
    assert check_config.main([str(path)]) == 2
    printed = capsys.readouterr().err
    assert where in printed
    assert printed.count('error: ') == 1
    assert 'Traceback' not in printed


def test_a_detector_of_a_package_is_refused(absent):
    with pytest.raises(UserError, match=r'model\.teacher\.cfg_path: expected mmdet, and mmcv with'):
        build_model(dict(cfg_path='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'), 'model.teacher')
