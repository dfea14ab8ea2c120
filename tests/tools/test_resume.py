"""--resume continues a run on this torch, with the same teacher metrics."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from tools import test, train

QUICKSTART = Path(__file__).parents[2] / 'configs/quickstart'


@pytest.fixture
def arguments(tmp_path):
    """Command line of a distillation with a validation and a checkpoint every 4 iterations."""
    with DefaultScope.overwrite_default_scope('mmpretrain'), MODELS.switch_scope_and_registry('mmpretrain') as models:
        teacher = models.build(Config.fromfile(QUICKSTART / 'teacher_vgg_digits.py').model)
    torch.save({'state_dict': teacher.state_dict()}, tmp_path / 'teacher.pth')
    return [
        str(QUICKSTART / 'kd_vgg_cnn_digits.py'),
        '--work-dir',
        str(tmp_path / 'run'),
        '--cfg-options',
        f'model.teacher_ckpt={tmp_path}/teacher.pth',
        'train_cfg.max_iters=8',
        'train_cfg.val_interval=4',
        'default_hooks.checkpoint.interval=4',
        'default_hooks.checkpoint.max_keep_ckpts=9',
        'default_hooks.logger.interval=1',
    ]


def log_of(work_dir):
    lines = []
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        lines += [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if 'iter' in line], [line for line in lines if 'teacher.accuracy/top1' in line]


@pytest.mark.slow
@pytest.mark.parametrize('resume', ['newest', 'path'])
def test_resume_continues(resume, arguments, tmp_path):
    work_dir = tmp_path / 'run'
    assert train.main([*arguments, 'train_cfg.max_iters=4']) == 0
    _, first = log_of(work_dir)
    checkpoint = torch.load(work_dir / 'iter_4.pth', weights_only=True)
    options = ['--resume'] if resume == 'newest' else ['--resume', str(work_dir / 'iter_4.pth')]

    assert train.main([arguments[0], *options, *arguments[1:]]) == 0

    training, validation = log_of(work_dir)
    assert [line['iter'] for line in training] == list(range(1, 9))
    assert validation[-1]['teacher.accuracy/top1'] == first[-1]['teacher.accuracy/top1']
    resumed = torch.load(work_dir / 'iter_8.pth', weights_only=True)
    assert resumed['meta']['iter'] == 8
    assert resumed['optimizer']['state'][0]['step'] == checkpoint['optimizer']['state'][0]['step'] + 4


@pytest.mark.slow
def test_test_gives_the_metrics_of_the_last_validation(arguments, tmp_path, capsys):
    assert train.main(arguments) == 0
    _, validation = log_of(tmp_path / 'run')
    split = ['--cfg-options', 'test_dataloader.dataset.split=val', f'model.teacher_ckpt={tmp_path}/teacher.pth']

    assert (
        test.main([arguments[0], str(tmp_path / 'run/iter_8.pth'), '--work-dir', str(tmp_path / 'test'), *split]) == 0
    )

    assert f'accuracy/top1: {validation[-1]["accuracy/top1"]:.4f}\n' in capsys.readouterr().out
    (path,) = (tmp_path / 'test').glob('*/*.json')
    assert json.loads(path.read_text())['accuracy/top1'] == pytest.approx(validation[-1]['accuracy/top1'])


@pytest.mark.slow
def test_tensorboard_when_asked(arguments, tmp_path):
    assert train.main([*arguments, 'visualizer.vis_backends.0.type=TensorboardVisBackend']) == 0

    assert list((tmp_path / 'run').glob('*/vis_data/events.out.tfevents.*'))
