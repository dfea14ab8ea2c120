"""What counts as loaded is what was copied from a file, whoever copies it."""

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.runner import load_checkpoint
from torch import nn

from kd_plugins.checkpoint import guard_downloads, load_strictly, own_tensors, watching_loads


class Net(BaseModule):
    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 2)
        self.register_buffer('scratch', torch.zeros(1), persistent=False)


@pytest.fixture
def file(tmp_path):
    guard_downloads()

    def save(**changes):
        state = {**Net().state_dict(), **changes}
        torch.save({'state_dict': {name: value for name, value in state.items() if value is not None}}, path)
        return str(path)

    path = tmp_path / 'net.pth'
    return save


def files(loaded, model):
    return {
        f'{path}.{name}'.lstrip('.'): loaded.file_of(part, name)
        for path, part in model.named_modules()
        for name, _ in own_tensors(part)
    }


@pytest.mark.parametrize('load', [lambda net, path: load_strictly(net, path, ''), load_checkpoint])
def test_every_tensor_of_a_whole_file(file, load):
    path, net = file(), Net()
    with watching_loads() as loaded:
        load(net, path)
    assert files(loaded, net) == dict.fromkeys(net.state_dict(), path)


def test_what_the_file_lacks_or_has_in_another_shape(file):
    path, net = file(**{'fc.bias': None, 'fc.weight': torch.zeros(7, 4), 'bn.num_batches_tracked': None}), Net()
    with watching_loads() as loaded:
        load_checkpoint(net, path, strict=False, logger='silent')
    absent = {'fc.bias', 'fc.weight', 'bn.num_batches_tracked'}
    assert files(loaded, net) == {name: None if name in absent else path for name in net.state_dict()}


@pytest.mark.parametrize('prefix', [None, 'inner.'])
def test_init_cfg_of_a_part(file, tmp_path, prefix):
    path = file()
    if prefix:
        torch.save({f'{prefix}{name}': value for name, value in torch.load(path)['state_dict'].items()}, path)
    start = dict(type='Pretrained', checkpoint=path, **(dict(prefix=prefix) if prefix else {}))
    model = nn.ModuleDict(dict(inner=Net(start), other=Net()))
    with watching_loads() as loaded:
        for part in model.values():
            part.init_weights()
    assert files(loaded, model) == {name: path if name.startswith('inner.') else None for name in model.state_dict()}


def test_the_last_file_counts_and_what_no_reader_read_has_no_name(file, tmp_path):
    path, net = file(), Net()
    with watching_loads() as loaded:
        load_checkpoint(net, path)
        net.load_state_dict({'fc.bias': torch.ones(2)}, strict=False)
    assert loaded.file_of(net.fc, 'weight') == path
    assert loaded.file_of(net.fc, 'bias') == ''


def test_nothing_is_noted_outside_and_the_method_is_put_back(file):
    plain, net = nn.Module._load_from_state_dict, Net()
    with watching_loads() as loaded:
        assert nn.Module._load_from_state_dict is not plain
    assert nn.Module._load_from_state_dict is plain
    load_checkpoint(net, file())
    assert set(files(loaded, net).values()) == {None}


def test_a_model_and_a_file_are_not_kept_alive(file):
    path, net = file(), Net()
    with watching_loads() as loaded:
        load_checkpoint(net, path)
        del net
        assert (len(loaded._files), len(loaded._read)) == (0, 0)
