import logging

import pytest
import safetensors.torch
import torch
from toy import ToyClassifier, algorithm_config, is_same, logits_only, snapshot

from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.errors import UserError
from kd_plugins.teacher import build_teacher

CONFIG = dict(type='ToyClassifier', channels=6)


class Creator:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


@pytest.fixture
def warnings(monkeypatch):
    """Lines that would go to the log."""
    lines = []

    def print_log(message, logger, level):
        assert level == logging.WARNING
        lines.append(message)

    monkeypatch.setattr('kd_plugins.teacher.build.print_log', print_log)
    return lines


@pytest.fixture
def trained():
    model = ToyClassifier(6)
    model.bn.running_mean.fill_(3)
    return model


def test_weights_come_from_the_checkpoint(tmp_path, trained, warnings):
    torch.save({'state_dict': trained.state_dict(), 'meta': {'epoch': 1}}, tmp_path / 'a.pth')
    teacher = build_teacher(CONFIG, str(tmp_path / 'a.pth'))
    assert is_same(snapshot(trained), snapshot(teacher))
    assert warnings == []


def test_safetensors(tmp_path, trained):
    safetensors.torch.save_file(trained.state_dict(), tmp_path / 'a.safetensors')
    assert is_same(snapshot(trained), snapshot(build_teacher(CONFIG, str(tmp_path / 'a.safetensors'))))


def test_a_checkpoint_of_a_distillation_is_a_teacher(tmp_path, trained):
    teacher = dict(type='ToyClassifier', channels=4)
    distilled = SingleTeacherDistill(**algorithm_config(architecture=trained, teacher=teacher, distiller=logits_only()))
    state = {**distilled.state_dict(), 'distiller.connectors.a.weight': torch.ones(1), 'teacher.fc.bias': torch.ones(9)}
    torch.save({'state_dict': state}, tmp_path / 'a.pth')
    assert is_same(snapshot(trained), snapshot(build_teacher(CONFIG, str(tmp_path / 'a.pth'))))


def test_a_model_is_loaded_too(tmp_path, trained):
    torch.save(trained.state_dict(), tmp_path / 'a.pth')
    model = ToyClassifier(6)
    assert build_teacher(model, str(tmp_path / 'a.pth')) is model
    assert is_same(snapshot(trained), snapshot(model))


def test_a_model_keeps_its_weights(trained, warnings):
    before = snapshot(trained)
    assert build_teacher(trained, None) is trained
    assert is_same(before, snapshot(trained))
    assert warnings == []


class BegunClassifier(ToyClassifier):
    """Takes a path for its backbone, or None, as mmseg's models do."""

    def __init__(self, pretrained=None, **kwargs):
        assert pretrained is None or isinstance(pretrained, str)
        super().__init__(init_cfg=dict(type='Pretrained', checkpoint=pretrained), **kwargs)


def test_a_model_written_out_keeps_the_name_of_its_backbones_weights(tmp_path, trained, warnings):
    torch.save(trained.state_dict(), tmp_path / 'a.pth')
    config = dict(type=BegunClassifier, channels=6, pretrained=str(tmp_path / 'none.pth'))
    assert is_same(snapshot(trained), snapshot(build_teacher(config, str(tmp_path / 'a.pth'))))
    torch.save(trained.state_dict(), tmp_path / 'none.pth')
    assert is_same(snapshot(trained), snapshot(build_teacher(config, None)))
    assert warnings == []


def test_random_weights_are_warned_of(warnings):
    build_teacher(CONFIG, None)
    (line,) = warnings
    assert 'no teacher_ckpt' in line
    assert 'random weights' in line


def test_a_pretrained_init_cfg_is_obeyed_without_a_warning(tmp_path, trained, warnings):
    torch.save(trained.state_dict(), tmp_path / 'a.pth')
    config = dict(CONFIG, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth')))
    assert is_same(snapshot(trained), snapshot(build_teacher(config, None)))
    assert warnings == []


def test_what_does_not_fit_is_counted_and_named(tmp_path):
    weights = dict(ToyClassifier(6).state_dict())
    del weights['fc.weight'], weights['fc.bias']
    weights |= {'neck.weight': torch.ones(1), 'conv1.weight': torch.ones(5, 3, 3, 3)}
    torch.save(weights, tmp_path / 'a.pth')
    with pytest.raises(UserError) as caught:
        build_teacher(CONFIG, str(tmp_path / 'a.pth'))
    message = str(caught.value)
    assert message.startswith('teacher_ckpt: expected weights of this ToyClassifier')
    assert '2 tensors of the model missing (fc.weight, fc.bias)' in message
    assert '1 tensors that the model does not have (neck.weight)' in message
    assert '1 tensors of another shape (conv1.weight: ' in message
    assert '[5, 3, 3, 3]' in message


def test_one_missing_tensor_is_an_error(tmp_path, trained):
    weights = dict(trained.state_dict())
    del weights['bn.running_var']
    torch.save(weights, tmp_path / 'a.pth')
    with pytest.raises(UserError, match=r'1 tensors of the model missing \(bn.running_var\)'):
        build_teacher(CONFIG, str(tmp_path / 'a.pth'))


def test_a_hostile_pickle_is_refused_and_does_nothing(tmp_path, trained):
    content = {'state_dict': trained.state_dict(), 'meta': Creator(tmp_path / 'trap')}
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(UserError, match=r'^teacher_ckpt: .*would run code when loaded'):
        build_teacher(CONFIG, str(tmp_path / 'a.pth'))
    assert not (tmp_path / 'trap').exists()


def test_a_truncated_file(tmp_path, trained):
    path = tmp_path / 'a.pth'
    torch.save(trained.state_dict(), path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r'^teacher_ckpt: expected a checkpoint, got .*cannot be read'):
        build_teacher(CONFIG, str(path))


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r'^teacher_ckpt: expected a checkpoint file, got .*does not exist'):
        build_teacher(CONFIG, str(tmp_path / 'a.pth'))


@pytest.mark.parametrize('config', [3, None, 'resnet50'])
def test_no_config(config):
    with pytest.raises(UserError, match=r'^teacher: expected a model'):
        build_teacher(config, None)


def test_no_download_of_pretrained_weights_that_a_checkpoint_replaces(tmp_path, monkeypatch):
    def download(*_, **__):
        raise AssertionError('a download')

    monkeypatch.setattr('kd_plugins.checkpoint.download.urlopen', download)
    monkeypatch.setattr(torch.hub, 'load_state_dict_from_url', download)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    config = dict(cfg_path='mmpretrain::resnet/resnet18_8xb32_in1k.py', pretrained=True)
    with pytest.raises(AssertionError, match='a download'):
        build_teacher(config, None)
    torch.save(build_teacher(dict(config, pretrained=False), None).state_dict(), tmp_path / 'a.pth')
    build_teacher(config, str(tmp_path / 'a.pth'))
    assert config['pretrained'] is True
