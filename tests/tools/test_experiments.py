"""The experiments on the digits, shortened: trained, evaluated and described by the tools that users start."""

from pathlib import Path

import pytest
import torch

from kd_plugins.build import build_model
from kd_plugins.engine.config import load_config
from kd_plugins.report.result import read_result
from tools import cache_teacher, train

CONFIGS = Path(__file__).parents[2] / 'configs'
EXPERIMENTS = sorted(
    path for folder in ('cached', 'densenet', 'ensemble', 'quantized') for path in (CONFIGS / folder).glob('*digits.py')
) + [CONFIGS / 'fitnets/fitnets_two_stage_vgg_cnn_digits.py']


def options_of(config, folder):
    """Options that make a training short, with teachers of random weights."""
    if config.train_cfg.get('max_epochs'):
        options = ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'train_dataloader.dataset.num_images=40']
        if config.model.get('teacher_cache'):
            options[-1] = 'train_dataloader.dataset.dataset.num_images=40'
    else:
        options = ['train_cfg.max_iters=4', 'train_cfg.val_interval=4']
    options.append('default_hooks.logger.interval=1')
    if 'teacher_ckpt' in config.model:
        options.append(f'model.teacher_ckpt={random_weights(config.model.teacher, folder / "teacher.pth")}')
    for name, teacher in config.model.get('teachers', {}).items():
        path = random_weights(teacher.build_cfg, folder / f'{name}.pth')
        options.append(f'model.teachers.{name}.ckpt_path={path}')
    initial = config.model.get('backbone', {}).get('init_cfg')
    if initial and initial['type'] == 'Pretrained':
        body = dict(config.model, backbone=dict(config.model.backbone, init_cfg=None))
        options.append(f'model.backbone.init_cfg.checkpoint={random_weights(body, folder / "body.pth")}')
    if config.get('custom_hooks'):
        options.append('custom_hooks.0.stages.0.end=2')
    if config.model.get('teacher_cache'):
        options.append(f'model.teacher_cache={folder / "cache"}')
    return options


def random_weights(config, path):
    model, _ = build_model(dict(config), 'model')
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


def test_there_are_such():
    assert {path.parent.name for path in EXPERIMENTS} == {'cached', 'densenet', 'ensemble', 'fitnets', 'quantized'}
    assert len(EXPERIMENTS) > 15


@pytest.mark.slow
@pytest.mark.parametrize('path', EXPERIMENTS, ids=lambda path: path.stem)
def test_runs(path, tmp_path):
    config = load_config(path)
    options = options_of(config, tmp_path)
    if config.model.get('teacher_cache'):
        arguments = [str(path), '--out', str(tmp_path / 'cache'), '--cfg-options', *options]
        assert cache_teacher.main(arguments) == 0

    assert train.main([str(path), '--work-dir', str(tmp_path / 'run'), '--cfg-options', *options]) == 0

    result = read_result(tmp_path / 'run')
    assert 0 <= result.score <= 100
    distils = 'architecture' in config.model
    assert (result.teacher is not None) == distils
    assert result.student['bytes'] < 4.4 * result.student['parameters'] + 60_000
    if 'quantized' in path.stem:
        # four bits a weight, and eight in the first and the last layer
        assert result.student['bytes'] < 0.8 * result.student['parameters'] + 20_000
    if distils:
        assert any(name.startswith('distill.loss') for name in result.curves['losses'])
