"""A check goes on without weights that are not here, and says so; those that are here are left in place."""

import pytest
import torch
from mmengine.config import Config, ConfigDict

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
