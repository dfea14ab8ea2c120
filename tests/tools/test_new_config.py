"""Two names of models become a config that trains."""

import importlib.util
import json

import pytest

from kd_plugins.scaffold import write_page
from tools import new_config, train

# each of ten families is a teacher once and a student once
PAIRS = [
    ('resnet50_8xb32_in1k', 'mobilenet-v2_8xb32_in1k'),
    ('mobilenet-v2_8xb32_in1k', 'vgg11bn_8xb32_in1k'),
    ('vgg11bn_8xb32_in1k', 'swin-tiny_16xb64_in1k'),
    ('swin-tiny_16xb64_in1k', 'resnet18_8xb32_in1k'),
    ('deit-small_4xb256_in1k', 'mobilenet-v3-small_8xb128_in1k'),
    ('mobilenet-v3-large_8xb128_in1k', 'convnext-tiny_32xb128_in1k'),
    ('convnext-tiny_32xb128_in1k', 'deit-tiny_4xb256_in1k'),
    ('regnetx-1.6gf_8xb128_in1k', 'shufflenet-v2-1x_16xb64_in1k'),
    ('shufflenet-v2-1x_16xb64_in1k', 'efficientnet-b0_8xb32_in1k'),
    ('efficientnet-b0_8xb32_in1k', 'regnetx-400mf_8xb128_in1k'),
]
ALL_GOOD = dict(method='kd', teacher='resnet34_8xb32_in1k', student='resnet18_8xb32_in1k', dataset='digits')


def training_log(work_dir):
    """What a run logged of each iteration."""
    (path,) = work_dir.glob('*/vis_data/scalars.json')
    return [entry for entry in map(json.loads, path.read_text().splitlines()) if 'iter' in entry]


def run(out, **options):
    arguments = [argument for key, value in options.items() for argument in (f'--{key}', value)]
    return new_config.main([*arguments, '-o', str(out)])


@pytest.mark.slow
@pytest.mark.parametrize(('teacher', 'student'), PAIRS, ids=[f'{teacher} to {student}' for teacher, student in PAIRS])
def test_trains_two_steps(tmp_path, teacher, student):
    out = tmp_path / 'new.py'
    assert run(out, method='fitnets', teacher=teacher, student=student, dataset='digits') == 0
    options = [
        'train_cfg.max_epochs=1',
        'train_dataloader.batch_size=5',
        'train_dataloader.dataset.num_images=10',
        'val_dataloader.dataset.num_images=10',
        'test_dataloader.dataset.num_images=10',
        'default_hooks.logger.interval=1',
        'default_hooks.checkpoint=None',
    ]
    assert train.main([str(out), '--work-dir', str(tmp_path / 'run'), '--cfg-options', *options]) == 0
    steps = training_log(tmp_path / 'run')
    assert len(steps) == 2
    for step in steps:
        assert {'distill.loss_stride16', 'distill.loss_kl'} <= set(step)
        assert all(0 < value < 1000 for name, value in step.items() if name.startswith('distill.'))


def test_says_what_it_wrote(tmp_path, capsys):
    out = tmp_path / 'new.py'
    assert run(out, **ALL_GOOD) == 0
    printed = capsys.readouterr()
    assert printed.out == f'{out}: passes the preflight; look at it with python tools/check_config.py {out}\n'
    assert 'random weights' in printed.err
    assert 'Traceback' not in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ['new.py']


def test_lists_methods(capsys):
    with pytest.raises(SystemExit) as end:
        new_config.main(['--help'])
    assert end.value.code == 0
    printed = capsys.readouterr().out
    for line in (
        'kd       mmpretrain: softened',
        'fitnets  mmpretrain: features',
        'pkd      mmdet: ',
        'digits   scikit-learn',
    ):
        assert line in printed


@pytest.mark.parametrize(
    ('changes', 'where', 'message'),
    [
        (dict(teacher='resnet34_8xb32_in1'), '--teacher', "did you mean 'resnet34_8xb32_in1k'"),
        (dict(student='resnet18'), '--student', 'resnet18_8xb'),
        (dict(student='mmdet::a/b.py'), '--student', 'mmpretrain::'),
        (dict(student='simclr_resnet50_16xb256-coslr-200e_in1k'), '--student', 'an image classifier'),
        (dict(teacher='vgg11_8xb32_in1k', dataset='cifar10'), '--teacher', '32 x 32 pixels'),
        (dict(method='fitnet'), 'arguments', "choose from 'kd', 'fitnets', 'pkd', 'cwd'"),
        (dict(dataset='imagnet'), 'arguments', "choose from 'imagenet', 'cifar10', 'digits'"),
    ],
)
def test_bad_input(tmp_path, capsys, changes, where, message):
    assert run(tmp_path / 'new.py', **{**ALL_GOOD, **changes}) == 2
    error = capsys.readouterr().err
    assert error.startswith(f'error: {where}\n  expected: ')
    assert message in error
    assert 'Traceback' not in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(importlib.util.find_spec('mmcv._ext') is not None, reason='mmcv has its operators here')
def test_detectors_without_operators(tmp_path, capsys):
    assert run(tmp_path / 'new.py', **{**ALL_GOOD, 'method': 'pkd'}) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: --student\n  expected: mmdet, and mmcv with its compiled operators\n')
    assert 'make install STACK=onedl DENSE=1' in error
    assert list(tmp_path.iterdir()) == []


def test_arguments_that_are_missing(capsys):
    assert new_config.main(['--method', 'kd']) == 2
    assert 'the following arguments are required: --teacher, --student, -o/--out' in capsys.readouterr().err


def test_an_existing_file_stays(tmp_path, capsys):
    out = tmp_path / 'new.py'
    out.write_text('mine')
    assert run(out, **ALL_GOOD) == 2
    assert 'error: -o\n  expected: a file that does not exist yet' in capsys.readouterr().err
    assert out.read_text() == 'mine'


def test_what_does_not_pass_is_not_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        'kd_plugins.cli.new.write_page', lambda plan: write_page(plan).replace("'head.fc'", "'head.fcc'")
    )
    assert run(tmp_path / 'new.py', **ALL_GOOD) == 2
    error = capsys.readouterr().err
    assert 'error: model.distiller.distill_losses.loss_kl.student' in error
    assert "did you mean 'head.fc'" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_students_own_recipe_trains(tmp_path, imagenet_root, random_checkpoint):
    teacher = 'regnetx-400mf_8xb128_in1k'
    out = tmp_path / 'new.py'
    options = {'method': 'fitnets', 'teacher': teacher, 'student': 'deit-tiny_4xb256_in1k'}
    assert run(out, **options, **{'teacher-ckpt': str(random_checkpoint(teacher))}) == 0
    roots = [f'{part}_dataloader.dataset.data_root={imagenet_root}' for part in ('train', 'val', 'test')]
    small = ['train_cfg.max_epochs=1', 'train_dataloader.batch_size=4', 'train_dataloader.num_workers=0']
    small += ['val_dataloader.num_workers=0', 'param_scheduler.1.end=300', 'default_hooks.logger.interval=1']
    arguments = [str(out), '--work-dir', str(tmp_path / 'run'), '--cfg-options', *roots, *small]
    assert train.main(arguments) == 0
    steps = training_log(tmp_path / 'run')
    assert len(steps) == 2
    assert all('distill.loss_stride16' in step for step in steps)
