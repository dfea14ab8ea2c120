"""tools/export_student.py from the outside."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS

from kd_plugins.engine.config import load_config
from tools import export_student

CONFIG = Path(__file__).parents[2] / 'configs/quickstart/kd_vgg_cnn_digits.py'


@pytest.fixture
def checkpoint(tmp_path):
    config = load_config(CONFIG)
    algorithm = MODELS.build(dict(config.model, teacher_ckpt=None))
    torch.save({'state_dict': algorithm.state_dict(), 'meta': {}}, tmp_path / 'iter_1.pth')
    return tmp_path / 'iter_1.pth'


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_printed_lines_load_the_student(checkpoint, tmp_path, capsys, suffix):
    out = tmp_path / f'student{suffix}'

    assert export_student.main([str(CONFIG), str(checkpoint), str(out)]) == 0

    text = capsys.readouterr().out
    assert re.search(rf'{out}: 94,762 parameters, 0\.\d\d MB', text)
    assert 'kd_plugins, which must be installed' in text
    names = {}
    exec('\n'.join(line.strip() for line in text.splitlines()[-2:]), names)
    saved = torch.load(checkpoint, weights_only=True)['state_dict']
    loaded = names['model'].state_dict()
    assert all(torch.equal(saved[f'architecture.{name}'], value) for name, value in loaded.items())


@pytest.mark.parametrize(
    ('arguments', 'where', 'got'),
    [
        (('nowhere.py', 'iter_1.pth', 'out.pth'), 'CONFIG', 'nowhere.py, which does not exist'),
        ((str(CONFIG), 'nowhere.pth', 'out.pth'), 'CHECKPOINT', 'nowhere.pth, which does not exist'),
        ((str(CONFIG), 'iter_1.pth', 'out.onnx'), 'OUT', 'out.onnx'),
        ((str(CONFIG), 'iter_1.pth', 'nowhere/out.pth'), 'OUT', 'nowhere'),
        ((str(CONFIG), 'iter_1.pth'), 'arguments', 'the following arguments are required: out'),
    ],
)
def test_mistakes_end_in_one_message(checkpoint, tmp_path, monkeypatch, capsys, arguments, where, got):
    monkeypatch.chdir(tmp_path)

    assert export_student.main(list(arguments)) == 2

    error = capsys.readouterr().err
    assert error.startswith(f'error: {where}\n')
    assert error.count('error:') == 1
    assert got in error
    assert list(tmp_path.iterdir()) == [checkpoint]
