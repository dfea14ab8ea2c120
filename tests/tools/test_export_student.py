"""tools/export_student.py from the outside."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmpretrain import get_model

from kd_plugins.datasets import Digits
from kd_plugins.engine.config import load_config
from tools import export_student, test

CONFIGS = Path(__file__).parents[2] / 'configs'
CONFIG = CONFIGS / 'quickstart/kd_vgg_cnn_digits.py'
QUANTIZED = CONFIGS / 'quantized/soft_targets_vgg_quantized_cnn_digits.py'
LABELS_ONLY = CONFIGS / 'quantized/labels_only_quantized_cnn_digits.py'


def checkpoint_of(path, folder):
    """The checkpoint of a config's model with random weights, and those of its student."""
    config = load_config(path)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build({**config.model, **({'teacher_ckpt': None} if 'teacher' in config.model else {})})
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, folder / 'iter_1.pth')
    return folder / 'iter_1.pth', getattr(model, 'architecture', model)


@pytest.fixture
def checkpoint(tmp_path):
    return checkpoint_of(CONFIG, tmp_path)[0]


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
        ((str(CONFIG), 'iter_1.pth', 'out.h5'), 'OUT', 'out.h5'),
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


def run_printed_lines(text):
    """What the lines after 'Load it with' define."""
    names = {}
    exec('\n'.join(line.strip() for line in text.partition('Load it with')[2].splitlines()), names)
    return names


@pytest.mark.parametrize('config', [QUANTIZED, LABELS_ONLY], ids=lambda path: path.stem)
def test_a_packed_student_is_small_loads_and_has_the_same_accuracy(tmp_path, capsys, config):
    checkpoint, student = checkpoint_of(config, tmp_path)
    out = tmp_path / 'student.packed.safetensors'

    assert export_student.main([str(config), str(checkpoint), str(out)]) == 0

    text = capsys.readouterr().out
    assert re.search(rf'{out}: 94,767 parameters, 0\.06 MB', text)
    assert 'kd_plugins, which must be installed' in text
    loaded = run_printed_lines(text)['model'].eval()
    images = torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(loaded(images), student.eval()(images))
    # the teacher's checkpoint is not needed to test a student
    lines = []
    for path in (out, checkpoint) if config == LABELS_ONLY else (out,):
        assert test.main([str(config), str(path), '--work-dir', str(tmp_path / 'test')]) == 0
        lines += [line for line in capsys.readouterr().out.splitlines() if line.startswith('accuracy/top1')]
    assert len(set(lines)) == 1


def test_an_onnx_student_runs(tmp_path, capsys):
    checkpoint, student = checkpoint_of(QUANTIZED, tmp_path)

    assert export_student.main([str(QUANTIZED), str(checkpoint), str(tmp_path / 'student.onnx')]) == 0

    text = capsys.readouterr().out
    assert f'normalised as data_preprocessor in {tmp_path / "student.py"} says' in text
    assert 'it gives logits, before any softmax or sigmoid' in text
    images = torch.randn(3, 3, 8, 8)
    (logits,) = run_printed_lines(text)['model'].run(['logits'], {'images': images.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), student.eval()(images), atol=1e-3, rtol=1e-3)


def test_an_onnx_student_of_pixels_predicts_the_digits_as_the_model_does(checkpoint, tmp_path, capsys):
    out = tmp_path / 'student.onnx'

    assert export_student.main([str(CONFIG), str(checkpoint), str(out), '--softmax', '--with-preprocessing']) == 0

    text = capsys.readouterr().out
    assert 'uint8 pixels, 0 to 255' in text
    assert 'scores, the softmax of the logits' in text
    session = run_printed_lines(text)['model']
    assert session.get_modelmeta().custom_metadata_map['output'] == 'scores'
    dataset = Digits(split='test', pipeline=[dict(type='PackInputs')])
    pixels = torch.stack([dataset[index]['inputs'] for index in range(len(dataset))])
    model = get_model(str(tmp_path / 'student.py'))
    state = torch.load(checkpoint, weights_only=True)['state_dict']
    model.load_state_dict({name.removeprefix('architecture.'): value for name, value in state.items()})
    with torch.no_grad():
        samples = model.eval().test_step(dict(inputs=pixels))
    (scores,) = session.run(['scores'], {'images': pixels.numpy()})
    torch.testing.assert_close(
        torch.from_numpy(scores), torch.stack([sample.pred_score for sample in samples]), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize('options', [['--softmax'], ['--softmax', '--with-preprocessing']], ids=len)
@pytest.mark.parametrize('name', ['student.pth', 'student.packed.safetensors'])
def test_options_of_onnx_for_another_file(checkpoint, tmp_path, capsys, options, name):
    assert export_student.main([str(CONFIG), str(checkpoint), str(tmp_path / name), *options]) == 2

    error = capsys.readouterr().err
    assert error.startswith(f'error: {", ".join(options)}\n')
    assert error.count('error:') == 1
    assert f'write {tmp_path}/student.onnx' in error
    assert list(tmp_path.iterdir()) == [checkpoint]


def test_a_student_without_quantised_layers_is_not_packed(checkpoint, tmp_path, capsys):
    out = tmp_path / 'student.packed.safetensors'

    assert export_student.main([str(CONFIG), str(checkpoint), str(out)]) == 2

    assert 'a model with quantised layers' in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [checkpoint]


def test_a_packed_file_of_another_student_is_not_tested(tmp_path, capsys):
    checkpoint, _ = checkpoint_of(LABELS_ONLY, tmp_path)
    out = tmp_path / 'student.packed.safetensors'
    assert export_student.main([str(LABELS_ONLY), str(checkpoint), str(out)]) == 0
    work_dir = tmp_path / 'test'

    option = 'model.backbone.conv_cfg.weight_bits=3'
    assert test.main([str(LABELS_ONLY), str(out), '--work-dir', str(work_dir), '--cfg-options', option]) == 2

    assert "'bits': 4" in capsys.readouterr().err
    assert not work_dir.exists()
