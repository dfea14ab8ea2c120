"""A user's mistake ends in one message, exit status 2 and nothing left behind."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmpretrain.datasets import CIFAR10, CIFAR100

from tools import test, train

REPOSITORY = Path(__file__).parents[2]
KD = REPOSITORY / 'configs/quickstart/kd_vgg_cnn_digits.py'
LOSS_KL = 'model.distiller.distill_losses.loss_kl'
TEACHER = REPOSITORY / 'configs/quickstart/teacher_vgg_digits.py'


class RunsCode:
    """What a hostile checkpoint holds: loading it would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


def data_roots(folder):
    """Options that put all data of a config into one folder."""
    return [f'{loader}_dataloader.dataset.data_root={folder}' for loader in ('train', 'val', 'test')]


@pytest.fixture
def teacher_checkpoint(tmp_path):
    from mmengine.registry import MODELS, DefaultScope

    with DefaultScope.overwrite_default_scope('mmpretrain'), MODELS.switch_scope_and_registry('mmpretrain') as models:
        model = models.build(Config.fromfile(TEACHER).model)
    path = tmp_path / 'teacher.pth'
    torch.save({'state_dict': model.state_dict()}, path)
    return path


def refused(capsys, arguments, work_dir):
    """Run tools/train.py and return its message."""
    assert train.main([*map(str, arguments), '--work-dir', str(work_dir)]) == 2
    message = capsys.readouterr().err
    assert 'error: ' in message
    assert 'Traceback' not in message
    assert not work_dir.exists()
    return message


def refused_options(capsys, tmp_path, *options):
    return refused(capsys, [KD, '--cfg-options', *options], tmp_path / 'parent' / 'run')


def test_config_not_found(capsys, tmp_path):
    message = refused(capsys, [KD.with_name('kd_vgg_cnn_digit.py')], tmp_path / 'run')
    assert 'kd_vgg_cnn_digits.py' in message  # the closest


def test_config_with_a_syntax_error(capsys, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text('model = dict(type=')
    message = refused(capsys, [config], tmp_path / 'run')
    assert str(config) in message
    assert 'yntax' in message


def test_config_without_a_model(capsys, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text('train_cfg = dict()')
    assert 'define the model' in refused(capsys, [config], tmp_path / 'run')


@pytest.mark.parametrize(
    ('option', 'where', 'closest'),
    [
        ('model.type=SingleTeacherDistil', 'model.type', 'SingleTeacherDistill'),
        ('model.distiller.distill_losses.loss_kl.type=KLDivergense', f'{LOSS_KL}.type', 'KLDivergence'),
        ('model.architecture.type=ImageClasifier', 'model.architecture', 'ImageClassifier'),
        ('model.architecture.head.type=LinearClsHed', 'model.architecture', 'LinearClsHead'),
        ('default_hooks.logger.type=LogerHook', 'default_hooks.logger.type', 'LoggerHook'),
        ('train_dataloader.dataset.type=Digts', 'train_dataloader.dataset.type', 'Digits'),
        ('optim_wrapper.optimizer.type=AdamWW', 'optim_wrapper.optimizer.type', 'AdamW'),
    ],
)  # fmt: skip
def test_unknown_type(capsys, tmp_path, teacher_checkpoint, option, where, closest):
    message = refused_options(capsys, tmp_path, f'model.teacher_ckpt={teacher_checkpoint}', option)
    assert f'error: {where}' in message
    assert f"did you mean '{closest}'" in message or f"or '{closest}'" in message or closest in message


def test_config_without_training(capsys, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(f'_base_ = {str(KD)!r}\ntrain_dataloader = None\noptim_wrapper = None\n')
    message = refused(capsys, [config], tmp_path / 'run')
    assert 'error: train_dataloader' in message
    assert 'error: optim_wrapper' in message


def test_unknown_part_of_a_plain_model(capsys, tmp_path):
    message = refused(capsys, [TEACHER, '--cfg-options', 'model.backbone.type=PlainCN'], tmp_path / 'run')
    assert 'error: model.backbone.type' in message
    assert "'PlainCNN'" in message


@pytest.mark.parametrize(
    ('option', 'where'),
    [
        ('val_evaluator=None', 'val_evaluator'),
        ('custom_hooks=[EMAHook]', 'custom_hooks.0'),
        ('custom_hooks=EMAHook', 'custom_hooks'),
        ('optim_wrapper.constructor=Constructor', 'optim_wrapper.constructor'),
        ('model.architecture.head.num_clases=10', 'model.architecture.head.num_clases'),
    ],
)
def test_value_that_cannot_be(option, where, capsys, tmp_path, teacher_checkpoint):
    message = refused_options(capsys, tmp_path, f'model.teacher_ckpt={teacher_checkpoint}', option)
    assert f'error: {where}\n' in message


def test_schedule_of_what_is_not_there(capsys, tmp_path, teacher_checkpoint):
    config = tmp_path / 'config.py'
    hook = "dict(type='kd_plugins.DistillScheduleHook', by_epoch=False, stages=[dict(losses=dict(loss_kll=0))])"
    config.write_text(
        f'_base_ = {str(KD)!r}\nmodel = dict(teacher_ckpt={str(teacher_checkpoint)!r})\ncustom_hooks = [{hook}]\n'
    )
    message = refused(capsys, [config], tmp_path / 'run')
    assert 'error: custom_hooks.0.stages.0.losses.loss_kll\n' in message
    assert "did you mean 'loss_kl'" in message


def test_unknown_key(capsys, tmp_path, teacher_checkpoint):
    message = refused_options(
        capsys, tmp_path, f'model.teacher_ckpt={teacher_checkpoint}', 'model.teacher_trainabel=True'
    )
    assert 'error: model.teacher_trainabel' in message
    assert "'teacher_trainable'" in message


def spoilt(capsys, tmp_path, teacher_checkpoint, student):
    """What is said of the config with another source of the student."""
    config = tmp_path / 'config.py'
    loss = f'dict(loss_kl=dict(student={student!r}))'
    config.write_text(
        f'_base_ = {str(KD)!r}\n'
        f'model = dict(teacher_ckpt={str(teacher_checkpoint)!r}, distiller=dict(distill_losses={loss}))\n'
    )
    return refused(capsys, [config], tmp_path / 'parent' / 'run')


def test_source_that_is_not_in_the_model(capsys, tmp_path, teacher_checkpoint):
    message = spoilt(capsys, tmp_path, teacher_checkpoint, 'head.fcc')
    assert f'error: {LOSS_KL}.student\n' in message
    assert "'head.fc'" in message


def test_record_idx_beyond_the_calls(capsys, tmp_path, teacher_checkpoint):
    message = spoilt(capsys, tmp_path, teacher_checkpoint, dict(_delete_=True, source='head.fc', record_idx=1))
    assert f'error: {LOSS_KL}.student.record_idx' in message
    assert 'ran once' in message


def test_tensors_that_do_not_meet(capsys, tmp_path, teacher_checkpoint):
    message = spoilt(capsys, tmp_path, teacher_checkpoint, dict(_delete_=True, source='neck', data_idx=0))
    assert f'error: {LOSS_KL}' in message
    assert '(2, 128)' in message
    assert '(2, 10)' in message


def test_teacher_checkpoint_missing(capsys, tmp_path):
    message = refused_options(capsys, tmp_path, f'model.teacher_ckpt={tmp_path}/none.pth')
    assert 'error: model.teacher_ckpt' in message
    assert 'none.pth, which does not exist' in message


def test_teacher_checkpoint_of_another_model(capsys, tmp_path):
    path = tmp_path / 'other.pth'
    torch.save({'state_dict': torch.nn.Linear(3, 3).state_dict()}, path)
    message = refused_options(capsys, tmp_path, f'model.teacher_ckpt={path}')
    assert 'tensors of the model missing' in message
    assert '2 tensors that the model does not have (weight, bias)' in message


def test_teacher_checkpoint_that_would_run_code(capsys, tmp_path):
    path, trace = tmp_path / 'hostile.pth', tmp_path / 'trace'
    path.write_bytes(pickle.dumps({'state_dict': RunsCode(trace)}))
    message = refused_options(capsys, tmp_path, f'model.teacher_ckpt={path}')
    assert 'would run code' in message
    assert not trace.exists()
    torch.save({'state_dict': RunsCode(trace)}, path)
    assert 'would run code' in refused_options(capsys, tmp_path, f'model.teacher_ckpt={path}')
    assert not trace.exists()


def test_data_folder_missing(capsys, tmp_path):
    config = REPOSITORY / 'configs/kd/kd_logits_resnet34_resnet18_8xb32_in1k.py'
    message = refused(capsys, [config, '--cfg-options', *data_roots(tmp_path / 'none')], tmp_path / 'run')
    assert 'error: train_dataloader.dataset.data_root' in message
    assert f'{tmp_path}/none, which does not exist' in message


def test_data_folder_without_the_split(capsys, tmp_path, random_checkpoint):
    config = REPOSITORY / 'configs/kd/kd_logits_resnet34_resnet18_8xb32_in1k.py'
    data = tmp_path / 'imagenet'
    data.mkdir()
    options = [*data_roots(data), f'model.teacher_ckpt={random_checkpoint("resnet34_8xb32_in1k")}']
    message = refused(capsys, [config, '--cfg-options', *options], tmp_path / 'run')
    assert str(data / 'train') in message


def test_data_folder_of_imagenet_says_where_it_comes_from(capsys, tmp_path):
    config = REPOSITORY / 'configs/kd/kd_logits_resnet34_resnet18_8xb32_in1k.py'
    message = refused(capsys, [config, '--cfg-options', *data_roots(tmp_path)], tmp_path / 'run')
    assert f'{tmp_path}/train, which does not exist' in message
    assert f'{tmp_path}/val, which does not exist' in message
    assert 'https://image-net.org/challenges/LSVRC/2012/' in message


@pytest.fixture
def no_download(monkeypatch):
    """Notes what mmpretrain would download, instead of downloading it."""
    asked = []
    monkeypatch.setattr('mmpretrain.datasets.cifar.download_and_extract_archive', lambda *a, **k: asked.append(a))
    return asked


@pytest.mark.parametrize(
    ('config', 'last'),
    [
        ('kd/kd_logits_resnet34_resnet18_8xb16_cifar10.py', 'cifar-10-batches-py/data_batch_1'),
        ('byot/byot_resnet18_8xb16_cifar100.py', 'cifar-100-python/train'),
    ],
)
@pytest.mark.parametrize('damaged', [False, True], ids=['missing', 'damaged'])
def test_cifar_files_are_not_downloaded_unasked(config, last, damaged, capsys, tmp_path, no_download):
    root = tmp_path / 'cifar'
    root.mkdir()
    if damaged:
        kind = CIFAR10 if 'cifar10.' in config else CIFAR100
        (root / kind.base_folder).mkdir()
        for name, _ in kind.train_list + kind.test_list:
            (root / kind.base_folder / name).write_bytes(b'half of it')
    options = [*data_roots(root), 'model.teacher_ckpt=None'] if 'kd_' in config else data_roots(root)
    message = refused(capsys, [REPOSITORY / 'configs' / config, '--cfg-options', *options], tmp_path / 'run')
    assert f'{root / last}, which ' + ('is damaged' if damaged else 'does not exist') in message
    assert 'https://www.cs.toronto.edu/~kriz/cifar.html' in message
    assert no_download == []


def test_cifar_files_of_a_test_are_not_downloaded_unasked(capsys, tmp_path, teacher_checkpoint, no_download):
    config = REPOSITORY / 'configs/densenet/student_cnn3_cifar10.py'
    arguments = [str(config), str(teacher_checkpoint), '--work-dir', str(tmp_path / 'run'), '--cfg-options']
    assert test.main([*arguments, *data_roots(tmp_path)]) == 2
    assert 'data_batch_1, which does not exist' in capsys.readouterr().err
    assert no_download == []


def test_work_dir_that_cannot_be_written(capsys, tmp_path, teacher_checkpoint):
    file = tmp_path / 'file'
    file.write_text('')
    arguments = [str(KD), '--work-dir', str(file / 'run'), '--cfg-options', f'model.teacher_ckpt={teacher_checkpoint}']
    assert train.main(arguments) == 2
    assert 'error: work_dir' in capsys.readouterr().err
    assert file.read_text() == ''


def test_what_was_in_the_work_dir_stays(capsys, tmp_path):
    keepsake = tmp_path / 'run' / 'keepsake'
    keepsake.parent.mkdir()
    keepsake.write_text('mine')
    arguments = [
        str(KD),
        '--work-dir',
        str(keepsake.parent),
        '--cfg-options',
        f'model.teacher_ckpt={tmp_path}/none.pth',
    ]
    assert train.main(arguments) == 2
    assert [path.name for path in keepsake.parent.iterdir()] == ['keepsake']


def test_resume_from_a_checkpoint_of_another_model(capsys, tmp_path, teacher_checkpoint):
    message = refused(
        capsys,
        [KD, '--resume', teacher_checkpoint, '--cfg-options', f'model.teacher_ckpt={teacher_checkpoint}'],
        tmp_path / 'run',
    )
    assert 'error: --resume' in message
    assert 'architecture.' in message


def test_resume_from_weights_alone(capsys, tmp_path, teacher_checkpoint):
    config = tmp_path / 'config.py'
    config.write_text(f'_base_ = {str(TEACHER)!r}\n')
    message = refused(capsys, [config, '--resume', teacher_checkpoint], tmp_path / 'run')
    assert 'error: --resume' in message
    assert 'which has no meta, message_hub' in message


def test_test_without_test_data(capsys, tmp_path, teacher_checkpoint):
    arguments = [str(TEACHER), str(teacher_checkpoint), '--work-dir', str(tmp_path / 'run')]
    assert test.main([*arguments, '--cfg-options', 'test_dataloader=None']) == 2
    assert 'error: test_dataloader' in capsys.readouterr().err
    assert not (tmp_path / 'run').exists()


def test_mmengines_amp_without_a_gpu(capsys, tmp_path, monkeypatch, teacher_checkpoint):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    options = [f'model.teacher_ckpt={teacher_checkpoint}', 'optim_wrapper.type=AmpOptimWrapper']
    message = refused_options(capsys, tmp_path, *options)
    assert message.count('error: ') == 1
    assert 'error: optim_wrapper.type' in message
    assert 'pass --amp' in message


@pytest.mark.parametrize('arguments', [['--amp', KD], [KD, '--amp', 'bf8']], ids=['config eaten', 'unknown'])
def test_precision_of_amp(arguments, capsys, tmp_path):
    message = refused(capsys, arguments, tmp_path / 'run')
    assert 'expected bf16 or fp16' in message
    assert 'CONFIG --amp' in message


def test_test_of_a_checkpoint_of_another_model(capsys, tmp_path, teacher_checkpoint):
    config = REPOSITORY / 'configs/quickstart/student_cnn_digits.py'
    assert test.main([str(config), str(teacher_checkpoint), '--work-dir', str(tmp_path / 'run')]) == 2
    assert 'error: CHECKPOINT' in capsys.readouterr().err
    assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_as_a_process(tmp_path):
    run = subprocess.run(
        [sys.executable, 'tools/train.py', KD, '--work-dir', tmp_path / 'run']
        + ['--cfg-options', f'model.teacher_ckpt={tmp_path}/none.pth'],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert 'Traceback' not in run.stdout + run.stderr
    assert 'error: model.teacher_ckpt' in run.stderr
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('head.fc.weight', "if it is the student's, model.architecture.init_cfg=dict(type='Pretrained', checkpoint="),
        ('classifier.weight', 'is it the checkpoint of another model?'),
    ],
)
def test_weights_to_start_from_of_which_none_fits(name, expected, capsys, tmp_path, teacher_checkpoint):
    torch.save({'state_dict': {name: torch.zeros(10, 128)}}, tmp_path / 'other.pth')
    options = [f'model.teacher_ckpt={teacher_checkpoint}', f'load_from={tmp_path}/other.pth']
    message = refused_options(capsys, tmp_path, *options)
    assert message.count('error: ') == 1
    assert 'error: load_from' in message
    assert expected in message


@pytest.mark.parametrize('option', ['load_from', '--resume'])
def test_checkpoint_of_the_run_that_would_run_code(option, capsys, tmp_path, teacher_checkpoint):
    path, trace = tmp_path / 'hostile.pth', tmp_path / 'trace'
    torch.save({'state_dict': RunsCode(trace)}, path)
    options = ['--cfg-options', f'model.teacher_ckpt={teacher_checkpoint}']
    options = [*options, f'load_from={path}'] if option == 'load_from' else ['--resume', path, *options]
    message = refused(capsys, [KD, *options], tmp_path / 'run')
    assert f'error: {option}' in message
    assert 'would run code' in message
    assert not trace.exists()
