"""tools/translate_config.py: a native config that loads like MMRazor's, or one message and no file."""

import pytest

from kd_plugins.compat.catalogue import MMCLS_CONFIGS, mmcls_folder
from kd_plugins.compat.page import run_part
from kd_plugins.engine.config import load_config
from tools import translate_config

THEIRS = "model = dict(_scope_='mmrazor', type='SingleTeacherDistill')\n"


def write_theirs(tmp_path):
    path = tmp_path / 'theirs.py'
    bases = "['mmcls::_base_/datasets/imagenet_bs32.py', 'mmcls::_base_/default_runtime.py']"
    path.write_text(f'_base_ = {bases}\n{THEIRS}train_dataloader = dict(batch_size=7)\n')
    return path


def run(source, out):
    return translate_config.main([str(source), '-o', str(out)])


@pytest.mark.parametrize('name', MMCLS_CONFIGS)
def test_every_config_of_the_wheel(tmp_path, capsys, name):
    pytest.importorskip('mmrazor', reason='pip install kd_plugins[parity]')
    out = tmp_path / 'native.py'
    assert run(mmcls_folder() / name, out) == 0
    text = out.read_text()
    assert 'mmcls' not in text.partition('# Result')[2].replace('mmclassification', '')
    assert '_scope_' not in text
    assert max(len(line) for line in text.splitlines() if '://' not in line) <= 120
    assert 'written; look at it with' in capsys.readouterr().out
    native = load_config(out)
    assert capsys.readouterr().err == ''
    assert native.model.type.startswith('kd_plugins.')
    assert [path.name for path in tmp_path.iterdir()] == ['native.py']


def test_loads_like_the_original_and_is_native(tmp_path, capsys):
    theirs = write_theirs(tmp_path)
    out = tmp_path / 'native.py'
    assert run(theirs, out) == 0
    assert run_part(load_config(out)) == run_part(load_config(theirs))
    capsys.readouterr()
    assert run(out, tmp_path / 'again.py') == 2
    assert 'which is native' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('text', 'out', 'said'),
    [
        (THEIRS, 'theirs.py', 'does not exist yet'),
        (THEIRS, 'native.txt', 'native.py'),
        (THEIRS, 'nowhere/native.py', 'in a folder that exists'),
        ('model = dict(', 'native.py', 'yntax'),
        (None, 'native.py', 'does not exist'),
        ('x = 1\n', 'native.py', 'define the model'),
        (THEIRS + 'optim_wrapper = dict(clip_grad=lambda: 1)\n', 'native.py', 'which holds something else'),
    ],
)
def test_refuses_and_writes_nothing(tmp_path, capsys, text, out, said):
    source = tmp_path / 'theirs.py'
    if text is not None:
        source.write_text(text)
    before = {path: path.read_text() for path in tmp_path.iterdir()}
    assert run(source, tmp_path / out) == 2
    assert said in capsys.readouterr().err
    assert {path: path.read_text() for path in tmp_path.iterdir()} == before
