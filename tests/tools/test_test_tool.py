"""The command line that evaluates a checkpoint: whatever metrics a config has, and what it writes and draws."""

import pickle
from pathlib import Path

import cv2
import mmengine
import numpy as np
import pytest
import torch

from kd_plugins.report.result import read_result
from tools import test, train

KD = Path(__file__).parents[2] / 'configs/quickstart/kd_vgg_cnn_digits.py'
CONFIG = f"""
_base_ = {str(KD)!r}
model = dict(teacher_ckpt=None)
train_cfg = dict(max_iters=2, val_interval=2)
val_evaluator = dict(_delete_=True, type='Evaluator', metrics=[
    dict(type='ConfusionMatrix'),
    dict(type='SingleLabelMetric', average=None),
    dict(type='Accuracy'),
])
test_evaluator = val_evaluator
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(CONFIG)
    return str(path)


def test_metrics_need_not_be_one_number_each(config, tmp_path, capsys):
    assert train.main([config, '--work-dir', str(tmp_path / 'run')]) == 0
    capsys.readouterr()

    assert test.main([config, str(tmp_path / 'run/iter_2.pth'), '--work-dir', str(tmp_path / 'test')]) == 0

    printed = capsys.readouterr().out
    score = read_result(tmp_path / 'run').metrics['accuracy/top1']
    assert f'accuracy/top1: {score:.4f}\n' in printed
    # ten classes: a list of ten, and a matrix of ten rows
    (precision,) = (line for line in printed.splitlines() if line.startswith('single-label/precision_classwise: ['))
    assert precision.count(',') == 9
    assert 'confusion_matrix/result: tensor([[' in printed


# two classes, with images of one name: all red, and the left half blue
FILES = f"""
_base_ = {str(KD)!r}
model = dict(teacher_ckpt=None)
test_dataloader = dict(dataset=dict(
    _delete_=True, type='CustomDataset', data_root={{root!r}}, pipeline=[
        dict(type='LoadImageFromFile'), dict(type='Resize', scale=(16, 16)), dict(type='PackInputs')]))
"""


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The plain config, and a checkpoint of a training of it."""
    folder = tmp_path_factory.mktemp('trained')
    path = folder / 'config.py'
    path.write_text(CONFIG)
    assert train.main([str(path), '--work-dir', str(folder / 'run')]) == 0
    return str(path), str(folder / 'run/iter_2.pth')


@pytest.fixture
def images(tmp_path):
    root = tmp_path / 'images'
    for name, blue in (('a', 0), ('b', 8)):
        (root / name).mkdir(parents=True)
        pixels = np.zeros((16, 16, 3), np.uint8)
        pixels[:, :blue, 0], pixels[:, blue:, 2] = 255, 255
        cv2.imwrite(str(root / name / 'image.png'), pixels)
    config = tmp_path / 'files.py'
    config.write_text(FILES.format(root=str(root)))
    return str(config)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the tool in an empty folder; returns the status and what was printed."""
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')

    def run(*arguments):
        capsys.readouterr()
        status = test.main([*map(str, arguments), '--work-dir', str(tmp_path / 'test')])
        printed = capsys.readouterr()
        assert 'Traceback' not in printed.out + printed.err
        return status, printed.out, printed.err

    return run


def printed_score(out):
    (line,) = (line for line in out.splitlines() if line.startswith('accuracy/top1: '))
    return float(line.rpartition(' ')[2])


def test_predictions_are_written(trained, run):
    status, out, _ = run(*trained, '--out', 'pred.pkl')

    assert status == 0
    predictions = pickle.loads(Path('pred.pkl').read_bytes())
    assert len(predictions) == 899
    right = [int(one['pred_label']) == int(one['gt_label']) for one in predictions]
    assert 100 * np.mean(right) == pytest.approx(printed_score(out), abs=1e-4)
    assert predictions[3]['pred_score'].shape == (10,)
    assert [path.name for path in Path().iterdir()] == ['pred.pkl']


@pytest.mark.parametrize('name', ['metrics.json', 'metrics.yaml', 'metrics.pkl'])
def test_metrics_are_written(name, trained, run):
    """A list of ten and a matrix of ten rows are among them."""
    status, out, _ = run(*trained, '--out', name, '--out-item', 'metrics')

    assert status == 0
    metrics = mmengine.load(name)
    assert metrics['accuracy/top1'] == pytest.approx(printed_score(out), abs=1e-4)
    assert len(metrics['single-label/precision_classwise']) == 10
    assert np.array(metrics['confusion_matrix/result']).shape == (10, 10)
    assert [path.name for path in Path().iterdir()] == [name]


def test_tta_averages_the_students_scores_of_an_image_and_its_mirror_image(trained, run):
    """Merged here from the predictions of each."""
    path, checkpoint = trained
    assert run(path, checkpoint, '--tta', '--out', 'both.pkl')[0] == 0
    assert run(path, checkpoint, '--out', 'plain.pkl')[0] == 0
    flip = "[dict(type='RandomFlip',prob=1.0),dict(type='PackInputs')]"
    Path('flipped.py').write_text(f'_base_ = {path!r}\ntest_dataloader = dict(dataset=dict(pipeline={flip}))\n')
    assert run('flipped.py', checkpoint, '--out', 'flipped.pkl')[0] == 0

    both, plain, flipped = (
        torch.stack([one['pred_score'] for one in pickle.loads(Path(f'{name}.pkl').read_bytes())])
        for name in ('both', 'plain', 'flipped')
    )
    torch.testing.assert_close(both, (plain + flipped) / 2)
    assert not torch.allclose(both, plain)


@pytest.mark.parametrize('averaged', [True, False])
def test_tta_of_the_config_is_taken(averaged, trained, run, tmp_path):
    """Twice the same view: nothing changes; with an EMAHook, it is the averaged weights that are tested."""
    path, checkpoint = trained
    own = tmp_path / 'own.py'
    hook = "custom_hooks = [dict(type='EMAHook')]\n" if averaged else ''
    own.write_text(
        f"_base_ = {path!r}\n{hook}tta_model = dict(type='AverageClsScoreTTA')\n"
        "tta_pipeline = [dict(type='TestTimeAug', transforms=[[dict(type='RandomFlip', prob=0.0)] * 2, "
        "[dict(type='PackInputs')]])]\n"
    )
    if averaged:
        assert train.main([str(own), '--work-dir', str(tmp_path / 'run')]) == 0
        checkpoint = str(tmp_path / 'run/iter_2.pth')

    assert run(own, checkpoint, '--tta', '--out', 'own.pkl')[0] == 0
    assert run(own, checkpoint, '--out', 'plain.pkl')[0] == 0

    own, plain = (
        torch.stack([one['pred_score'] for one in pickle.loads(Path(f'{name}.pkl').read_bytes())])
        for name in ('own', 'plain')
    )
    torch.testing.assert_close(own, plain)


@pytest.mark.parametrize('options', [[], ['--tta']], ids=['plain', 'tta'])
def test_pictures_have_the_colours_of_the_files(options, images, trained, run):
    status, _, _ = run(images, trained[1], '--show-dir', 'show', *options)

    assert status == 0
    paths = sorted(Path('show').iterdir())
    assert [path.name for path in paths] == ['000000_image.png', '000001_image.png']
    pictures = [cv2.imread(str(path)) for path in paths]
    assert min(pictures[0].shape[:2]) == 224
    # below the text: blue, green and red
    corners = [picture[-1, [0, -1]].tolist() for picture in pictures]
    assert corners == [[[0, 0, 255], [0, 0, 255]], [[255, 0, 0], [0, 0, 255]]]


def test_every_300th_digit_is_drawn(trained, run):
    assert run(*trained, '--show-dir', 'some/show', '--interval', 300)[0] == 0
    names = sorted(path.name for path in Path('some/show').iterdir())
    assert names == [f'{number:06d}_image.png' for number in (0, 300, 600)]


REFUSED = {
    'item alone': (['--out-item', 'pred'], '--out-item', 'add --out FILE'),
    'interval alone': (['--interval', '2'], '--interval', 'add --show-dir DIR'),
    'interval of none': (['--show-dir', 'show', '--interval', '0'], '--interval', 'at least 1'),
    'unknown item': (['--out', 'a.pkl', '--out-item', 'all'], 'arguments', "invalid choice: 'all'"),
    'json of predictions': (['--out', 'a.json'], '--out', 'write for instance a.pkl, or add --out-item metrics'),
    'picture of metrics': (['--out', 'a.png', '--out-item', 'metrics'], '--out', 'write for instance a.json'),
    'no such folder': (['--out', 'nowhere/a.pkl'], '--out', 'create nowhere'),
    'a folder': (['--out', 'folder.pkl'], '--out', 'folder.pkl, which is a folder'),
    'not to be written': (['--out', '/proc/a.pkl'], '--out', 'a folder that can be written'),
    'a file for a folder': (['--show-dir', 'file'], '--show-dir', 'which is or lies in a file'),
    'below a file': (['--show-dir', 'file/show'], '--show-dir', 'which is or lies in a file'),
    'no pictures there': (['--show-dir', '/proc/show'], '--show-dir', 'a folder that can be written'),
}


@pytest.mark.parametrize(('options', 'where', 'said'), REFUSED.values(), ids=REFUSED)
def test_options_that_cannot_be_followed(options, where, said, trained, run, tmp_path):
    """They are refused before anything is read: there is no such checkpoint."""
    Path('folder.pkl').mkdir()
    Path('file').write_text('mine')

    status, _, err = run(trained[0], 'nowhere.pth', *options)

    assert status == 2
    assert err.startswith(f'error: {where}\n')
    assert err.count('error: ') == 1
    assert said in err
    assert not (tmp_path / 'test').exists()
    assert sorted(path.name for path in Path().iterdir()) == ['file', 'folder.pkl']


BAD_PARTS = {
    'unknown model': ("tta_model = dict(type='AverageClsScoreTT')", 'tta_model.type', "'AverageClsScoreTTA'"),
    'no model': ("tta_model = 'AverageClsScoreTTA'", 'tta_model', 'a dict with the key type'),
    'unknown transform': ("tta_pipeline = [dict(type='TestTimeAu')]", 'tta_pipeline.0.type', "'TestTimeAug'"),
    'no list': ("tta_pipeline = dict(type='TestTimeAug')", 'tta_pipeline', 'a list of transforms'),
    'one view': ("tta_pipeline = [dict(type='PackInputs')]", 'tta_pipeline', "end it with dict(type='TestTimeAug'"),
    'two data sets': (
        "test_dataloader = dict(dataset=dict(_delete_=True, type='ConcatDataset', datasets=[dict("
        "type='kd_plugins.Digits', pipeline=[dict(type='PackInputs')])] * 2))",
        'test_dataloader.dataset.pipeline',
        'test without --tta',
    ),
    'no visualizer': (
        "visualizer = dict(_delete_=True, type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])",
        '--show-dir',
        "write visualizer=dict(type='UniversalVisualizer')",
    ),
}


@pytest.mark.parametrize(('line', 'where', 'said'), BAD_PARTS.values(), ids=BAD_PARTS)
def test_parts_of_a_config_that_do_not_fit_the_options(line, where, said, trained, run, tmp_path):
    path, checkpoint = trained
    config = tmp_path / 'bad.py'
    config.write_text(f'_base_ = {path!r}\n{line}\n')

    status, _, err = run(config, checkpoint, '--tta', '--show-dir', 'show', '--out', 'a.pkl')

    assert status == 2
    assert err.startswith(f'error: {where}\n')
    assert err.count('error: ') == 1
    assert said in err
    assert not (tmp_path / 'test').exists()
    assert list(Path().iterdir()) == []


def test_a_config_without_visualizer_gets_one(trained, run, tmp_path):
    path, checkpoint = trained
    config = tmp_path / 'without.py'
    config.write_text(f'_base_ = {path!r}\nvisualizer = None\n')
    assert run(config, checkpoint, '--show-dir', 'show', '--interval', 500)[0] == 0
    assert len(list(Path('show').iterdir())) == 2


def test_a_bad_argument_of_a_metric_is_one_message(trained, run, tmp_path):
    config = tmp_path / 'bad.py'
    config.write_text(f"_base_ = {trained[0]!r}\ntest_evaluator = dict(_delete_=True, type='Accuracy', topkk=1)\n")
    status, _, err = run(config, trained[1])
    assert status == 2
    assert err.startswith('error: test_evaluator')
    assert not (tmp_path / 'test').exists()
