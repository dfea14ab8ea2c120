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
    return folder


def run(trained, out, *more, images=('seven.png',), checkpoint='epoch_1.pth'):
    paths = [str(trained / name) for name in images]
    return visualize_features.main(
        [str(CONFIG), str(trained / checkpoint), *paths, '-o', str(out), '--cfg-options', *OPTIONS, *more]
    )


@pytest.mark.slow
def test_a_grid_for_an_image(trained, tmp_path, capsys):
    assert run(trained, tmp_path / 'out') == 0
    assert str(tmp_path / 'out' / 'seven.png') in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / 'out' / 'seven.png')).std() > 5


def test_what_is_drawn_is_what_the_losses_get(trained):
    config = load_config(CONFIG, {'model.teacher_ckpt': None})
    algorithm = load_algorithm(config, trained / 'epoch_1.pth')
    image = prepare_image(config, trained / 'seven.png')
    meetings, unseen, size = meetings_on(algorithm, image.batch)
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
