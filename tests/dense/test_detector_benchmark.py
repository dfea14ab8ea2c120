"""The benchmark of a detector compares steps that compute the same."""

import pytest
from small_configs import CONFIGS

from tools import benchmark_detector

CONFIG = str(CONFIGS / 'pkd/pkd_fpn_retinanet-r101_retinanet-r50_8xb2_coco.py')
SMALL = ['--size', '64', '--batch', '2', '--rounds', '1']


def test_all_steps_have_one_loss(capsys):
    assert benchmark_detector.main([CONFIG, *SMALL]) == 0

    printed = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in printed.splitlines() if line.startswith('| ')]
    steps = {row[0]: row[1:] for row in rows[2:]}
    assert list(steps) == ['ours', 'ours, whole teacher', 'plain']
    assert steps['plain'][1] == '1.00'
    losses = [float(step[3]) for step in steps.values()]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    assert 'mmdet' in printed
    assert 'torch threads: ' in printed


def test_another_method_is_refused(capsys):
    other = 'model.distiller.distill_losses.loss_pkd_p3.type=L2Loss'

    assert benchmark_detector.main([CONFIG, *SMALL, '--cfg-options', other]) == 2

    error = capsys.readouterr().err
    assert error.startswith('error: CONFIG\n')
    assert 'L2Loss' in error
    assert 'Traceback' not in error
