"""tools/visualize_features.py draws a grid for each image, or says what is wrong."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from kd_plugins.engine.config import load_config
from kd_plugins.preflight import build_from_config
from kd_plugins.visualize import load_algorithm, meetings_on, prepare_image
from tools import visualize_features

CONFIG = Path(__file__).parents[2] / 'configs/quickstart/fitnets_resnet50_resnet18_digits.py'
RED = (0, 0, 255)  # OpenCV's order
OPTIONS = ['model.teacher_ckpt=None']


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A checkpoint of the config, an image, and the folder of both."""
    folder = tmp_path_factory.mktemp('visualize')
    config = load_config(CONFIG, {'model.teacher_ckpt': None})
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        algorithm = build_from_config(config)
    torch.save({'state_dict': algorithm.state_dict(), 'meta': {}}, folder / 'epoch_1.pth')
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    assert cv2.imwrite(str(folder / 'seven.png'), pixels)
    assert cv2.imwrite(str(folder / 'red.png'), np.full((40, 40, 3), RED, np.uint8))
    return folder


def run(trained, out, *more, images=('seven.png',), checkpoint='epoch_1.pth'):
    paths = [str(trained / name) for name in images]
    return visualize_features.main(
        [str(CONFIG), str(trained / checkpoint), *paths, '-o', str(out), '--cfg-options', *OPTIONS, *more]
    )


@pytest.mark.slow
def test_a_grid_for_each_image(trained, tmp_path, capsys):
    images = ('seven.png', 'red.png')
    assert run(trained, tmp_path / 'out', images=images) == 0

    printed = capsys.readouterr().out.splitlines()
    assert printed[-2:] == [str(tmp_path / 'out' / name) for name in images]
    grids = [cv2.imread(str(tmp_path / 'out' / name)) for name in images]
    assert grids[0].shape == grids[1].shape
    shown = [(grid == RED).all(-1) for grid in grids]
    # three losses, each with the image at the left, heat maps over it in the other columns
    first = slice(0, grids[0].shape[1] // 4)
    assert shown[1][:, first].mean() > 0.4
    assert shown[1].sum() == shown[1][:, first].sum()
    assert shown[0].sum() == 0


def test_what_is_drawn_is_what_the_losses_get(trained):
    config = load_config(CONFIG, {'model.teacher_ckpt': None})
    algorithm = load_algorithm(config, trained / 'epoch_1.pth')
    image = prepare_image(config, trained / 'seven.png')
    meetings, unseen, size = meetings_on(algorithm, image)
    assert not unseen
    assert [meeting.name for meeting in meetings] == list(algorithm.distiller.distill_losses)
    data = algorithm.data_preprocessor(image.batch, False)
    assert size == tuple(data['inputs'].shape[-2:])
    with torch.no_grad():
        logits = algorithm.student(data['inputs'], mode='tensor')
    by_name = {meeting.name: meeting for meeting in meetings}
    torch.testing.assert_close(by_name['loss_kl'].student, logits[0], rtol=1e-4, atol=1e-5)
    for meeting in meetings:
        # after its connector, the student's record has the teacher's shape
        assert meeting.student.shape == meeting.teacher.shape


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(images=('nine.png',)), 'nine.png, which does not exist'),
        (dict(images=('seven.png', 'seven.png')), 'seven twice'),
        (dict(images=('epoch_1.pth',)), 'epoch_1.pth ('),
        (dict(checkpoint='seven.png'), 'seven.png'),
    ],
)
def test_bad_input_is_one_message(trained, tmp_path, capsys, change, message):
    assert run(trained, tmp_path / 'out', **change) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert 'Traceback' not in printed
    assert not (tmp_path / 'out').exists()


def test_a_folder_that_cannot_be_made(trained, tmp_path, capsys, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr(Path, 'mkdir', refuse)
    assert run(trained, tmp_path / 'out') == 2
    assert f'{tmp_path / "out"} ([Errno 13] Permission denied' in capsys.readouterr().err


@pytest.mark.parametrize('name', ['seven.png', 'no/out', 300 * 'x'])
def test_a_folder_that_cannot_be(trained, tmp_path, capsys, name):
    (tmp_path / 'seven.png').touch()
    assert run(trained, tmp_path / name) == 2
    printed = capsys.readouterr().err
    assert printed.startswith('error: -o\n')
    assert f'got:      {tmp_path / name}' in printed


@pytest.mark.slow
def test_a_picture_that_cannot_be_written(trained, tmp_path, capsys):
    (tmp_path / 'seven.png').mkdir()
    assert run(trained, tmp_path) == 2
    printed = capsys.readouterr().err
    assert 'error: -o\n' in printed
    assert 'Is a directory' in printed


def test_a_model_alone_is_refused(trained, tmp_path, capsys):
    config = CONFIG.with_name('student_resnet18_digits.py')
    status = visualize_features.main(
        [str(config), str(trained / 'epoch_1.pth'), str(trained / 'seven.png'), '-o', str(tmp_path / 'out')]
    )
    assert status == 2
    assert 'give the config of a distillation' in capsys.readouterr().err


def test_the_config_of_a_run_is_not_changed(trained):
    config = load_config(CONFIG, {'model.teacher_ckpt': None})
    before = Config(config.to_dict())
    prepare_image(config, trained / 'seven.png')
    assert config.to_dict() == before.to_dict()
