"""What the benchmark of a detector cannot measure is refused in one message; none of this needs mmdet."""

from pathlib import Path

import pytest

from tools import benchmark_detector

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.mark.parametrize(
    ('name', 'got'),
    [
        ('quickstart/student_cnn_digits.py', 'a ImageClassifier without architecture'),
        ('quickstart/methods/byot_vgg_cnn_digits.py', 'a kd_plugins.SelfDistill without teacher'),
        ('quickstart/methods/pkd_vgg_cnn_digits.py', 'a ImageClassifier that is distilled by PKDLoss'),
    ],
)
def test_a_config_of_another_kind(capsys, name, got):
    assert benchmark_detector.main([str(CONFIGS / name)]) == 2

    error = capsys.readouterr().err
    assert error.startswith('error: CONFIG\n')
    assert f'got:      {got}\n' in error


@pytest.mark.parametrize('option', ['--rounds', '--batch', '--size'])
def test_nothing_to_measure(capsys, option):
    config = CONFIGS / 'pkd/pkd_fpn_retinanet-r101_retinanet-r50_8xb2_coco.py'

    assert benchmark_detector.main([str(config), option, '0']) == 2

    assert capsys.readouterr().err.startswith(f'error: {option}\n  expected: a number above 0\n')
