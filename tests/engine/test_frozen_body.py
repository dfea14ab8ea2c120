"""A new classifier on a trained body: the teacher of configs/cached learns nothing else."""

from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmpretrain import get_model

from kd_plugins.engine.config import load_config
from kd_plugins.engine.launch import prepare_training, run_training

CACHED = Path(__file__).parents[2] / 'configs' / 'cached'


@pytest.fixture
def trained(tmp_path):
    """Weights of a ResNet-50 of the quickstart's shape whose BatchNorm statistics are not the initial ones."""
    torch.manual_seed(0)
    model = get_model('resnet50_8xb32_in1k', head=dict(num_classes=10))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    path = tmp_path / 'trained.pth'
    torch.save({'state_dict': model.state_dict()}, path)
    return path


class Start(Hook):
    """Keeps what the model is when training begins."""

    def before_train_epoch(self, runner):
        self.state = {name: value.clone() for name, value in runner.model.state_dict().items()}


def test_only_the_classifier_learns_and_no_statistic_moves(trained, tmp_path):
    changes = {
        'model.backbone.init_cfg.checkpoint': str(trained),
        'train_dataloader.dataset.num_images': 30,
        'train_dataloader.batch_size': 10,
        'train_cfg': dict(_delete_=True, by_epoch=True, max_epochs=1),
        'default_hooks.checkpoint.save_best': None,
        'val_dataloader': None,
        'val_cfg': None,
        'val_evaluator': None,
        'log_level': 'WARNING',
        'launcher': 'none',
        'work_dir': str(tmp_path / 'run'),
    }
    runner = prepare_training(load_config(CACHED / 'teacher_resnet50_frozen_digits.py', changes))
    start = Start()
    runner.register_hook(start)
    run_training(runner)
    before, after = start.state, runner.model.state_dict()

    assert {name for name, value in after.items() if not torch.equal(value, before[name])} == {
        'head.fc.weight',
        'head.fc.bias',
    }
    body = torch.load(trained, weights_only=True)['state_dict']
    compared = [name for name in after if name.startswith('backbone.')]
    assert sum(name.endswith(('running_mean', 'running_var', 'num_batches_tracked')) for name in compared) == 3 * 53
    for name in compared:
        assert torch.equal(after[name], body[name]), name


def test_the_teacher_of_224_pixels_is_frozen_likewise():
    """The body that the test above trained with, but for where its weights come from."""
    digits, cifar = (
        load_config(CACHED / f'teacher_resnet50_{name}.py').model for name in ('frozen_digits', '224_cifar10')
    )
    assert cifar.backbone.init_cfg.pop('checkpoint').startswith('https://download.openmmlab.com/')
    digits.backbone.init_cfg.pop('checkpoint')
    assert cifar == digits
