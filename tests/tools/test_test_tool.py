"""The command line that evaluates a checkpoint: whatever metrics a config has."""

from pathlib import Path

import pytest

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
