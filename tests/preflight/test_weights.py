"""A check goes on without weights that are not here, and says so; those that are here are left in place."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from toy import TEACHER_CHANNELS, ToyClassifier, runner_config

from kd_plugins.checkpoint import local_path
from kd_plugins.preflight import inspect_training
from kd_plugins.preflight.weights import set_aside_absent_weights

RESNET18 = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))


def test_a_checkpoint_that_is_here_stays(tmp_path):
    path = tmp_path / 'teacher.pth'
    path.touch()
    model = ConfigDict(teacher=dict(type='ToyClassifier'), teacher_ckpt=str(path))
    assert set_aside_absent_weights(model) == []
    assert model.teacher_ckpt == str(path)


@pytest.mark.parametrize(
    ('address', 'got', 'advice'),
    [
        ('work_dirs/none.pth', 'not there yet', 'train it first'),
        ('https://download.example/teacher.pth', 'not downloaded yet', 'training downloads it'),
    ],
)
def test_an_absent_checkpoint_is_set_aside(address, got, advice):
    model = ConfigDict(teacher=dict(cfg_path=RESNET18, pretrained=True), teacher_ckpt=address)
    warnings = set_aside_absent_weights(model)
    assert [warning.where for warning in warnings] == ['model.teacher_ckpt']
    assert got in warnings[0].got
    assert advice in warnings[0].advice
    assert model.teacher_ckpt is None
    assert model.teacher.pretrained is False


def test_pretrained_weights_and_those_of_init_cfg():
    backbone = dict(type='ResNet', depth=18, init_cfg=dict(type='Pretrained', checkpoint='none.pth'))
    model = ConfigDict(
        teacher=dict(cfg_path=RESNET18, pretrained=True), architecture=dict(type='ImageClassifier', backbone=backbone)
    )
    warnings = set_aside_absent_weights(model)
    assert {warning.where for warning in warnings} == {
        'model.teacher.pretrained',
        'model.architecture.backbone.init_cfg.checkpoint',
    }
    assert model.teacher.pretrained is False
    assert model.architecture.backbone.init_cfg is None


SEGMENTOR = """
model = dict(
    type='EncoderDecoder',
    pretrained='open-mmlab://resnet18_v1c',
    backbone=dict(type='ResNet', init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18')),
)
model_path = 'https://download.example/segmentor.pth'
"""


@pytest.mark.parametrize('pretrained', [False, True])
def test_what_a_library_has_a_backbone_begin_with(monkeypatch, pretrained):
    read = lambda cfg_path, pretrained: Config.fromstring(SEGMENTOR, '.py')  # noqa: E731
    monkeypatch.setattr('kd_plugins.build.model.read_library_config', read)
    model = ConfigDict(teacher=dict(cfg_path=RESNET18, pretrained=pretrained))
    warnings = set_aside_absent_weights(model)
    # with weights for the whole model, the backbone's are not taken
    begins = ['model.teacher.pretrained', 'model.teacher.backbone.init_cfg.checkpoint']
    assert [warning.where for warning in warnings] == (begins[:1] if pretrained else begins)
    assert ('segmentor.pth' in warnings[0].got) is pretrained
    assert model.teacher.pretrained is None
    assert model.teacher.backbone == dict(init_cfg=None)


@pytest.mark.parametrize('checkpoint', [None, 'teacher.pth'])
def test_a_backbones_weights_that_a_whole_model_replaces_leave_those_in_place(monkeypatch, tmp_path, checkpoint):
    read = lambda cfg_path, pretrained: Config.fromstring(SEGMENTOR, '.py')  # noqa: E731
    monkeypatch.setattr('kd_plugins.build.model.read_library_config', read)
    here = tmp_path / checkpoint if checkpoint else local_path('https://download.example/segmentor.pth')
    Path(here).parent.mkdir(parents=True, exist_ok=True)
    Path(here).touch()
    model = ConfigDict(teacher=dict(cfg_path=RESNET18, pretrained=True), teacher_ckpt=str(here) if checkpoint else None)
    before = copy.deepcopy(model)
    assert set_aside_absent_weights(model) == []
    assert model == before


BEGUN = dict(
    type='EncoderDecoder',
    pretrained='open-mmlab://resnet18_v1c',
    backbone=dict(type='ResNet', init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18')),
    decode_head=[dict(type='FCNHead', init_cfg=[dict(type='Normal'), dict(type='Pretrained', checkpoint='none.pth')])],
)


def test_what_parts_written_out_begin_with():
    model = ConfigDict(architecture=copy.deepcopy(BEGUN))
    assert [warning.where.removeprefix('model.architecture.') for warning in set_aside_absent_weights(model)] == [
        'pretrained',
        'backbone.init_cfg.checkpoint',
        'decode_head.0.init_cfg.1.checkpoint',
    ]
    assert model.architecture.pretrained is None
    assert model.architecture.backbone.init_cfg is None
    assert model.architecture.decode_head[0].init_cfg is None


def test_what_parts_of_a_list_in_a_library_begin_with(monkeypatch):
    read = lambda cfg_path, pretrained: Config(dict(model=copy.deepcopy(BEGUN)))  # noqa: E731
    monkeypatch.setattr('kd_plugins.build.model.read_library_config', read)
    model = ConfigDict(architecture=dict(cfg_path=RESNET18, pretrained=False))
    assert len(set_aside_absent_weights(model)) == 3
    # what is merged into the library's config
    assert model.architecture.decode_head == {'0': dict(init_cfg=None)}


@pytest.mark.parametrize('key', ['teacher', 'teachers'])
@pytest.mark.parametrize('is_here', [True, False])
def test_what_a_checkpoint_replaces_in_a_model_written_out(tmp_path, key, is_here):
    path = tmp_path / 'teacher.pth'
    if is_here:
        path.touch()
    written, where = ConfigDict(copy.deepcopy(BEGUN)), 'model.teacher_ckpt'
    model = dict(teacher=written, teacher_ckpt=str(path))
    if key == 'teachers':
        model, where = dict(teachers=dict(a=dict(build_cfg=written, ckpt_path=str(path)))), 'model.teachers.a.ckpt_path'
    assert [warning.where for warning in set_aside_absent_weights(model)] == ([] if is_here else [where])
    if not is_here:  # nor does the check go and get these
        assert written.pretrained is None
        assert written.backbone.init_cfg is None


def test_a_teacher_whose_checkpoint_is_here_is_loaded(tmp_path):
    torch.save(ToyClassifier(TEACHER_CHANNELS).state_dict(), tmp_path / 'teacher.pth')
    config = Config(runner_config(tmp_path))
    config.model.teacher.init_cfg = dict(type='Pretrained', checkpoint='none.pth')
    config.model.teacher_ckpt = str(tmp_path / 'teacher.pth')
    findings = inspect_training(config, ready=False)
    assert findings.faults == []
    assert findings.absent == []
    (teacher,) = [model for model in findings.models if model.role == 'teacher']
    assert teacher.loaded == teacher.tensors
    assert teacher.weights == config.model.teacher_ckpt
