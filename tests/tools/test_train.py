"""The shipped configs train through tools/train.py on files of the real formats."""

import json
from pathlib import Path

import pytest
import torch
from flagship import LONG_FORM
from mmengine.config import Config
from mmengine.runner import Runner

from tools import train

CONFIGS = Path(__file__).parents[2] / 'configs'
LOSSES = {'student.loss', 'distill.loss_s4', 'distill.loss_s3', 'distill.loss_kl'}


def data_options(root):
    options = []
    for loader in ('train', 'val', 'test'):
        options += [
            f'{loader}_dataloader.dataset.data_root={root}',
            f'{loader}_dataloader.batch_size=4',
            f'{loader}_dataloader.num_workers=0',
        ]
    return [*options, 'train_cfg.max_epochs=1', 'default_hooks.logger.interval=1']


def scalars(work_dir):
    (path,) = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def long_form(tmp_path):
    """The seed's config in MMRazor's long form."""
    path = tmp_path / 'long_form.py'
    data = ('datasets/imagenet_bs32', 'schedules/imagenet_bs256', 'default_runtime')
    path.write_text(
        f'_base_ = {[f"mmpretrain::_base_/{name}.py" for name in data]}\n'
        f'model = {LONG_FORM!r}\n'
        "val_cfg = dict(type='SingleTeacherDistillValLoop')\n"
    )
    return path


@pytest.mark.slow
@pytest.mark.parametrize('form', ['short', 'long'])
def test_seed_config_trains_on_imagenet_files(form, long_form, imagenet_root, random_checkpoint, tmp_path):
    config = CONFIGS / 'fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb32_in1k.py'
    config = long_form if form == 'long' else config
    work_dir = tmp_path / 'run'
    checkpoint = random_checkpoint('resnet50_8xb32_in1k')

    status = train.main(
        [str(config), '--work-dir', str(work_dir), '--cfg-options', f'model.teacher_ckpt={checkpoint}']
        + data_options(imagenet_root)
    )

    assert status == 0
    log = scalars(work_dir)
    training, validation = [line for line in log if 'iter' in line], [line for line in log if 'iter' not in line]
    assert len(training) == 2  # 8 images in batches of 4
    assert set(training[0]) >= LOSSES
    assert training[0]['loss'] == pytest.approx(sum(training[0][name] for name in LOSSES), rel=1e-5)
    assert {'accuracy/top1', 'accuracy/top5', 'teacher.accuracy/top1', 'teacher.accuracy/top5'} <= set(validation[0])
    state = torch.load(work_dir / 'epoch_1.pth', weights_only=True)['state_dict']
    assert {name.split('.')[0] for name in state} == {'architecture', 'distiller'}


@pytest.mark.slow
def test_dkd_warms_up_on_imagenet_files(imagenet_root, random_checkpoint, tmp_path):
    config = CONFIGS / 'dkd/dkd_resnet34_resnet18_8xb32_in1k.py'
    options = [f'model.teacher_ckpt={random_checkpoint("resnet34_8xb32_in1k")}', *data_options(imagenet_root)]

    assert train.main([str(config), '--work-dir', str(tmp_path / 'run'), '--cfg-options', *options]) == 0

    first, second = (line for line in scalars(tmp_path / 'run') if 'iter' in line)
    assert first['distill.loss_dkd'] == 0
    assert 0 < second['distill.loss_dkd'] < 0.01 * second['student.loss']


@pytest.mark.slow
@pytest.mark.parametrize(
    ('config', 'teacher'),
    [
        ('fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb16_cifar10.py', 'resnet50_8xb16_cifar10'),
        ('kd/kd_logits_resnet34_resnet18_8xb16_cifar10.py', 'resnet34_8xb16_cifar10'),
    ],
)
def test_config_trains_on_cifar_files(config, teacher, cifar10_root, random_checkpoint, tmp_path):
    work_dir = tmp_path / 'run'

    status = train.main(
        [str(CONFIGS / config), '--work-dir', str(work_dir)]
        + ['--cfg-options', f'model.teacher_ckpt={random_checkpoint(teacher)}', *data_options(cifar10_root)]
    )

    assert status == 0
    log = scalars(work_dir)
    assert sum('iter' in line for line in log) == 3  # 5 files of 2 images in batches of 4
    assert 'teacher.accuracy/top1' in log[-1]


KD = CONFIGS / 'quickstart/kd_vgg_cnn_digits.py'
DIGITS = f"""
_base_ = {str(KD)!r}
model = dict(teacher_ckpt=None)
train_cfg = dict(max_iters=2, val_interval=1)
custom_hooks = [dict(type='EarlyStoppingHook', monitor='accuracy/top1', patience=9)]
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(save_best='auto'))
train_dataloader = dict(num_workers=1, pin_memory=True, persistent_workers=True)
val_dataloader = dict(num_workers=1)
"""


@pytest.fixture
def digits(tmp_path):
    path = tmp_path / 'digits.py'
    path.write_text(DIGITS)
    return str(path)


@pytest.mark.parametrize('options', [[], ['--no-validate']], ids=['validated', 'not'])
def test_no_validate(options, digits, tmp_path):
    """The test at the end of a training stays, and what waits for a validation waits."""
    work_dir = tmp_path / 'run'

    assert train.main([digits, '--work-dir', str(work_dir), *options]) == 0

    validated = [line for line in scalars(work_dir) if any('teacher.accuracy' in name for name in line)]
    assert len(validated) == (0 if options else 2)
    assert len(list(work_dir.glob('best_*.pth'))) == (0 if options else 1)
    assert Config.fromfile(work_dir / 'digits.py').val_cfg is None or not options
    result = json.loads((work_dir / 'result.json').read_text())
    assert 'accuracy/top1' in result['metrics']
    assert result['split'] == 'test'
    # and so does going on
    more = ['--resume', '--cfg-options', 'train_cfg.max_iters=3']
    assert train.main([digits, '--work-dir', str(work_dir), *options, *more]) == 0
    assert (work_dir / 'iter_3.pth').is_file()


@pytest.mark.parametrize(
    ('option', 'attribute'), [('--no-pin-memory', 'pin_memory'), ('--no-persistent-workers', 'persistent_workers')]
)
def test_options_of_data_loaders(option, attribute, digits, tmp_path, monkeypatch):
    """In the data loaders that train, whatever the config says; without workers there are none to keep."""
    built = []
    own = Runner.build_dataloader
    monkeypatch.setattr(
        Runner, 'build_dataloader', lambda *args, **kwargs: built.append(own(*args, **kwargs)) or built[-1]
    )

    assert train.main([digits, '--work-dir', str(tmp_path / 'with')]) == 0
    assert getattr(built[0], attribute) is True
    built.clear()

    assert train.main([digits, '--work-dir', str(tmp_path / 'without'), option]) == 0
    assert len(built) >= 3
    assert {getattr(loader, attribute) for loader in built} == {False}
