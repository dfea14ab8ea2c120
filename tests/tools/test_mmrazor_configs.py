"""MMRazor's configs that distil classifiers train and validate through tools/train.py, as the wheel has them."""

import json
import pickle
from functools import partial

import numpy as np
import pytest

pytest.importorskip('mmrazor', reason='pip install kd_plugins[parity]')

import torch
from mmpretrain.datasets import CIFAR100

from kd_plugins.build import build_model
from kd_plugins.compat.catalogue import MMCLS_CONFIGS, mmcls_folder
from kd_plugins.engine.config import load_config
from tools import train

FOLDER = mmcls_folder()
R34, R50 = 'resnet34_8xb32_in1k', 'resnet50_8xb32_in1k'
R34_CIFAR, R50_CIFAR = 'resnet34_8xb16_cifar10', 'resnet50_8xb16_cifar10'
TEACHER, START, DATA_FREE = 'model.teacher_ckpt', 'model.init_cfg.checkpoint', 'model.teachers.res34.ckpt_path'
# config, its data, and whose weights are at the keys that name some
CONFIGS = {
    'abloss/abloss_logits_resnet50_resnet18_8xb32_in1k.py': ('imagenet', {START: 'both'}),
    'abloss/abloss_pretrain_backbone_resnet50_resnet18_8xb32_in1k.py': ('imagenet', {TEACHER: R50}),
    'byot/byot_resnet18_8xb16_cifar100.py': ('cifar100', {}),
    'crd/crd_neck_r50_r18_8xb16_cifar10.py': ('crd', {TEACHER: R50_CIFAR}),
    'dafl/dafl_logits_resnet34_resnet18_8xb256_cifar10.py': ('cifar10', {DATA_FREE: R34_CIFAR}),
    'deit/deit-base_regnety160_pt-16xb64_in1k.py': ('imagenet', {TEACHER: 'model.teacher'}),
    'dfad/dfad_logits_resnet34_resnet18_8xb32_cifar10.py': ('cifar10', {DATA_FREE: R34_CIFAR}),
    'dist/dist_logits_resnet34_resnet18_8xb32_in1k.py': ('imagenet', {TEACHER: R34}),
    'dkd/dkd_resnet34_resnet18_8xb32_in1k.py': ('imagenet', {TEACHER: R34}),
    'factor_transfer/factor-transfer_backbone_resnet50_resnet18_8xb16_cifar10_pretrain.py': (
        'cifar10',
        {TEACHER: R50_CIFAR},
    ),
    'factor_transfer/factor-transfer_backbone_resnet50_resnet18_8xb16_cifar10_train.py': (
        'cifar10',
        {TEACHER: R50_CIFAR, START: 'both'},
    ),
    'fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb32_in1k.py': ('imagenet', {TEACHER: R50}),
    'kd/kd_logits_resnet34_resnet18_8xb32_in1k.py': ('imagenet', {TEACHER: R34}),
    'kd/kd_logits_resnet50_mobilenet-v2_8xb32_in1k.py': ('imagenet', {TEACHER: R50}),
    'kd/kd_logits_resnet50_shufflenet-v2-1x_16xb64_in1k.py': ('imagenet', {TEACHER: R50}),
    'ofd/ofd_backbone_resnet50_resnet18_8xb16_cifar10.py': ('cifar10', {TEACHER: 'model.teacher'}),
    'rkd/rkd_neck_resnet34_resnet18_8xb32_in1k.py': ('imagenet', {TEACHER: R34}),
    'wsld/wsld_logits_resnet34_resnet18_8xb32_in1k.py': ('imagenet', {TEACHER: R34}),
    'zskt/zskt_backbone_logits_resnet34_resnet18_8xb16_cifar10.py': ('cifar10', {DATA_FREE: R34_CIFAR}),
}
# a schedule that begins after the few steps of the test is refused by mmengine
BEGINS = {
    'dafl/dafl_logits_resnet34_resnet18_8xb256_cifar10.py': 'param_scheduler.architecture.1.begin=1',
    'deit/deit-base_regnety160_pt-16xb64_in1k.py': 'param_scheduler.1.begin=0',
    'kd/kd_logits_resnet50_shufflenet-v2-1x_16xb64_in1k.py': 'param_scheduler.1.begin=1',
}
# the key below a loader that has the folder, by data; 'dataset.data_root' where nothing else is said
FOLDER_KEYS = {
    'cifar100': dict.fromkeys(('train', 'val', 'test'), 'dataset.data_prefix'),
    'crd': dict(train='dataset.dataset.data_prefix', val='dataset.dataset.data_prefix'),
}


@pytest.fixture
def cifar100_root(tmp_path, monkeypatch):
    """CIFAR-100's own files, with few images; mmpretrain is told not to expect the checksums of the real ones."""
    root = tmp_path / 'cifar100'
    (root / CIFAR100.base_folder).mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, _ in CIFAR100.train_list + CIFAR100.test_list:
        batch = {
            'batch_label': name,
            'fine_labels': [index * 9 for index in range(6)],
            'coarse_labels': list(range(6)),
            'data': random.integers(0, 256, (6, 3072), dtype=np.uint8),
            'filenames': [f'{index}.png' for index in range(6)],
        }
        (root / CIFAR100.base_folder / name).write_bytes(pickle.dumps(batch))
    meta = {'fine_label_names': list(CIFAR100.METAINFO['classes'])}
    (root / CIFAR100.base_folder / CIFAR100.meta['filename']).write_bytes(pickle.dumps(meta))
    for attribute in ('train_list', 'test_list'):
        monkeypatch.setattr(CIFAR100, attribute, [[name, None] for name, _ in getattr(CIFAR100, attribute)])
    monkeypatch.setattr(CIFAR100, 'meta', {**CIFAR100.meta, 'md5': None})
    return root


def options_of(name, root, checkpoints):
    """Small data, few steps, and weights that are here; nothing else of the config is touched."""
    data, weights = CONFIGS[name]
    options = [f'{key}={checkpoints(whose)}' for key, whose in weights.items()]
    for loader in ('train', 'val', 'test'):
        options += [
            f'{loader}_dataloader.{FOLDER_KEYS.get(data, {}).get(loader, "dataset.data_root")}={root}',
            f'{loader}_dataloader.batch_size=4',
            f'{loader}_dataloader.num_workers=0',
            f'{loader}_dataloader.persistent_workers=False',
        ]
    by_epochs, by_iterations = ['train_cfg.max_epochs=1'], ['train_cfg.max_iters=2', 'train_cfg.val_interval=2']
    options += by_iterations if DATA_FREE in weights else by_epochs
    return [*options, 'default_hooks.logger.interval=1', *filter(None, [BEGINS.get(name)])]


@pytest.fixture
def checkpoints(random_checkpoint, tmp_path):
    """Writes random weights: of a config of mmpretrain, of the config's own teacher, or a whole file of MMRazor's."""

    def write(name, whose):
        if not whose.startswith('model.') and whose != 'both':
            return random_checkpoint(whose)
        model = load_config(FOLDER / name).model
        model.teacher.pop('pretrained', None)
        state = build_model(model.teacher, 'teacher')[0].state_dict()
        if whose == 'both':
            student, _ = build_model(model.architecture, 'architecture')
            state = {f'teacher.{key}': value for key, value in state.items()}
            state.update({f'architecture.{key}': value for key, value in student.state_dict().items()})
        torch.save({'state_dict': state, 'meta': {}}, tmp_path / f'{whose}.pth')
        return tmp_path / f'{whose}.pth'

    return write


def test_none_is_missing():
    found = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob('*.py') if 'datasets' not in path.parts}
    assert found == set(CONFIGS) == set(MMCLS_CONFIGS)
    assert len(found) == 19


@pytest.mark.slow
@pytest.mark.parametrize('name', CONFIGS)
def test_trains_two_steps_and_validates(name, request, checkpoints, tmp_path, capsys):
    root = request.getfixturevalue({'crd': 'cifar10'}.get(CONFIGS[name][0], CONFIGS[name][0]) + '_root')
    torch.manual_seed(0)
    options = options_of(name, root, partial(checkpoints, name))
    work_dir = tmp_path / 'run'
    capsys.readouterr()

    status = train.main([str(FOLDER / name), '--work-dir', str(work_dir), '--cfg-options', *options])

    printed = capsys.readouterr()
    assert status == 0, printed.err[-3000:]
    (path,) = work_dir.glob('*/vis_data/scalars.json')
    log = [json.loads(line) for line in path.read_text().splitlines()]
    training, validation = [line for line in log if 'loss' in line or 'distill.loss' in line], log[-1]
    assert len(training) >= 2
    assert any(key.startswith('distill.loss') for key in training[0])
    assert all(np.isfinite(value) for value in training[0].values())
    assert any('accuracy/top1' in key for key in validation)
    assert printed.err.count('read for kd_plugins and mmpretrain') == 1
