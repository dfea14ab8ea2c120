"""The flagship model trains under mmpretrain's own tool, from a config that is written out and adds custom_imports."""

import subprocess
import sys
from pathlib import Path

import mmpretrain
import pytest
import torch

from tools import check_config

REPOSITORY = Path(__file__).parents[2]
FLAGSHIP = REPOSITORY / 'configs/fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb32_in1k.py'
TRAIN = Path(mmpretrain.__file__).parent / '.mim' / 'tools' / 'train.py'


@pytest.mark.slow
def test_flagship_trains_under_mmpretrain(imagenet_root, random_checkpoint, tmp_path):
    config = tmp_path / 'plugin.py'
    # connectors that are left out are worked out by our tools alone
    assert check_config.main([str(FLAGSHIP), '--dump', str(tmp_path / 'explicit.py')]) == 0
    config.write_text("_base_ = './explicit.py'\ncustom_imports = dict(imports=['kd_plugins'])\n")
    options = [f'model.teacher_ckpt={random_checkpoint("resnet50_8xb32_in1k")}', 'train_cfg.max_epochs=1']
    for loader in ('train', 'val', 'test'):
        options += [
            f'{loader}_dataloader.dataset.data_root={imagenet_root}',
            f'{loader}_dataloader.batch_size=4',
            f'{loader}_dataloader.num_workers=0',
        ]

    run = subprocess.run(
        [sys.executable, TRAIN, config, '--work-dir', tmp_path / 'run', '--no-persistent-workers', '--no-pin-memory']
        + ['--cfg-options', *options, 'default_hooks.logger.interval=1'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr[-2000:]
    log = run.stdout + run.stderr
    for name in ('student.loss', 'distill.loss_s4', 'distill.loss_s3', 'distill.loss_kl', 'teacher.accuracy/top1'):
        assert f'{name}: ' in log
    state = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=True)['state_dict']
    assert not any(name.startswith('teacher') for name in state)
