import pytest
import safetensors.torch
import torch
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader, checkpoint, load_checkpoint
from torch import nn

from kd_plugins.checkpoint import download
from kd_plugins.checkpoint.mmengine_loader import load_from_anywhere
from kd_plugins.errors import UserError


class Hostile:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return open, (str(self.canary), 'w')


def test_no_loader_of_mmengines_is_left():
    assert set(CheckpointLoader._schemes.values()) == {load_from_anywhere}
    assert {'', 'http://', 'pavi://', 'torchvision://', 'mmcls://'} <= set(CheckpointLoader._schemes)


@pytest.mark.parametrize('scheme', ['s3://bucket/', 'petrel://bucket/', 'open-mmlab:s3://bucket/'])
def test_object_stores_are_read_like_files(scheme, tmp_path, monkeypatch):
    files, canary = {}, tmp_path / 'canary'
    monkeypatch.setattr(download, 'get', lambda path, backend_args: files[path])
    torch.save({'state_dict': {'a': torch.ones(1)}}, tmp_path / 'a')
    files[f'{scheme}a.pth'] = (tmp_path / 'a').read_bytes()
    assert load_from_anywhere(f'{scheme}a.pth')['state_dict']['a'] == 1
    torch.save({'state_dict': {'a': Hostile(canary)}}, tmp_path / 'a')
    files[f'{scheme}a.pth'] = (tmp_path / 'a').read_bytes()
    with pytest.raises(UserError, match='would run code'):
        CheckpointLoader.load_checkpoint(f'{scheme}a.pth')
    assert not canary.exists()
    with pytest.raises(UserError, match='a file of an object store'):
        CheckpointLoader.load_checkpoint(f'{scheme}b.pth')


def test_pavi_is_no_public_service():
    with pytest.raises(UserError, match='copy the file here'):
        CheckpointLoader.load_checkpoint('pavi://a')


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_init_cfg(suffix, tmp_path):
    path = tmp_path / f'a{suffix}'
    weights = {'layer.weight': torch.full((2, 2), 7.0), 'layer.bias': torch.zeros(2)}
    safetensors.torch.save_file(weights, path) if suffix == '.safetensors' else torch.save(weights, path)

    class Model(BaseModule):
        def __init__(self):
            super().__init__(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
            self.layer = nn.Linear(2, 2)

    model = Model()
    model.init_weights()
    assert model.layer.weight.tolist() == [[7, 7], [7, 7]]


def test_weights_of_timm_lie_under_model(tmp_path):
    torch.save({'model': {'weight': torch.full((1, 1), 3.0), 'bias': torch.zeros(1)}}, tmp_path / 'a.pth')
    model = nn.Linear(1, 1)
    load_checkpoint(model, str(tmp_path / 'a.pth'))
    assert model.weight.item() == 3


def test_the_config_that_mmengine_would_execute_is_left_out(tmp_path):
    content = {'state_dict': {'a': torch.ones(1)}, 'meta': {'config': 'import os', 'iter': 3}}
    torch.save(content, tmp_path / 'a.pth')
    assert load_from_anywhere(str(tmp_path / 'a.pth'))['meta'] == {'iter': 3}


def test_a_file_without_weights(tmp_path):
    torch.save({'meta': {}}, tmp_path / 'a.pth')
    with pytest.raises(UserError, match='which has none'):
        checkpoint._load_checkpoint(str(tmp_path / 'a.pth'))


def test_an_altered_file(tmp_path):
    torch.save({'a': torch.ones(1)}, tmp_path / 'a.pth')
    (tmp_path / 'a.pth.sha256').write_text(f'{"0" * 64}  a.pth\n')
    with pytest.raises(UserError, match='was altered or cut off after it was written'):
        load_from_anywhere(str(tmp_path / 'a.pth'))
