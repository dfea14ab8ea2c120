"""Bad files in a folder of images, and folders that are no training data, given to the tools as users do."""

import json

import pytest
import torch
from image_folders import damage, write_config, write_images
from tool_process import run_tool

DISTILLATION = """
student = dict(model)
teacher = dict(model)
model = dict(
    type='kd_plugins.SingleTeacherDistill',
    architecture=student,
    teacher=teacher,
    teacher_ckpt={checkpoint!r},
    distiller=dict(
        type='ConfigurableDistiller',
        distill_losses=dict(loss_kl=dict(type='KLDivergence', student='head.fc', teacher='head.fc')),
    ),
)
"""
LISTED = (
    "train_dataloader = dict(loader, dataset=dict(**dataset, data_prefix='train', ann_file='train.txt', "
    "classes=['cat', 'dog']))\n"
)
REPLACING = 'bad_files = dict(replace=2)\n'
BY_ITERATIONS = (
    'train_cfg = dict(by_epoch=False, max_iters=8)\nlog_processor = dict(by_epoch=False)\n'
    'default_hooks = dict(logger=dict(interval=2), checkpoint=dict(by_epoch=False))\n'
)


@pytest.fixture
def root(tmp_path):
    for part in ('train', 'val'):
        write_images(tmp_path / 'data' / part)
    return tmp_path / 'data'


def start(tool, root, *arguments, workers=0, more=''):
    config = write_config(root.parent, root, workers, more)
    return run_tool(tool, config, *arguments, folder=root.parent, limit=120)


def journal(root):
    lines = (root.parent / 'work_dirs' / 'config' / 'bad_files.jsonl').read_text().splitlines()
    return [json.loads(line) for line in lines]


def is_refused(done, where, *parts):
    assert done.status == 2, done.stderr
    assert 'Traceback' not in done.stderr
    # libpng says something of its own
    *_, said = done.stderr.rpartition('error: ')
    said = f'error: {said}'.splitlines()
    assert done.stderr.splitlines()[-4:] == said
    assert said[0] == f'error: {where}'
    for part in parts:
        assert part in said[2], done.stderr
    return said[3]


@pytest.mark.parametrize(
    ('workers', 'suffix', 'how', 'problem'),
    [
        (0, '.jpg', 'random', 'cannot be decoded'),
        (0, '.jpg', 'half', 'is cut off'),
        (2, '.png', 'half', 'is cut off'),
        (2, '.jpg', 'empty', 'is empty'),
        (0, '.png', 'zeros', 'is cut off'),
        (2, '.jpg', 'missing', 'does not exist'),
    ],
)
def test_a_bad_file_ends_the_training_with_its_name(root, workers, suffix, how, problem):
    write_images(root / 'train', suffix=suffix)
    # a list says that a file is there
    names = [f'{name}/{index}{suffix}' for name in ('cat', 'dog') for index in range(6)]
    (root / 'train.txt').write_text('\n'.join(f'{name} {int(name.startswith("dog"))}' for name in names))
    bad = damage(root / 'train' / 'dog' / f'3{suffix}', how)
    done = start('train', root, workers=workers, more=LISTED)
    advice = is_refused(done, 'train_dataloader.dataset', str(bad), problem)
    assert 'bad_files=dict(replace=N)' in advice
    assert [line['file'] for line in journal(root)] == [str(bad)]


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('loop', ['', BY_ITERATIONS], ids=['epochs', 'iterations'])
def test_bad_files_are_replaced_and_listed(root, workers, loop):
    bad = [damage(root / 'train' / 'cat' / '1.jpg', 'half'), damage(root / 'train' / 'dog' / '2.jpg', 'random')]
    done = start('train', root, workers=workers, more=REPLACING + loop)
    assert done.status == 0, done.stderr
    assert sorted(line['file'] for line in journal(root)) == sorted(map(str, bad))
    assert '(2 in all)' in (done.stdout + done.stderr)
    for path in bad:
        assert (done.stdout + done.stderr).count(f'{path}: ') == 1


@pytest.mark.parametrize('workers', [0, 2])
def test_more_bad_files_than_allowed(root, workers):
    for index in range(3):
        damage(root / 'train' / 'cat' / f'{index}.jpg', 'half')
    done = start('train', root, workers=workers, more=REPLACING)
    advice = is_refused(
        done, 'train_dataloader.dataset', 'is cut off', 'bad file number 3', 'bad_files.jsonl lists all'
    )
    assert advice.endswith('bad_files=dict(replace=N), now 2')
    assert len(journal(root)) == 3


@pytest.mark.parametrize('workers', [0, 2])
def test_a_bad_file_to_validate_with_is_fatal(root, workers):
    bad = damage(root / 'val' / 'cat' / '1.jpg', 'half')
    done = start('train', root, workers=workers, more=REPLACING)
    is_refused(done, 'val_dataloader.dataset', str(bad), 'is cut off')


@pytest.mark.parametrize('workers', [0, 2])
def test_a_bad_file_to_test_with_is_fatal(root, workers):
    assert start('train', root).status == 0
    bad = damage(root / 'val' / 'cat' / '1.jpg', 'random')
    checkpoint = root.parent / 'work_dirs' / 'config' / 'epoch_2.pth'
    done = start('test', root, checkpoint, workers=workers)
    is_refused(done, 'test_dataloader.dataset', str(bad), 'cannot be decoded')


def test_an_empty_folder_is_named(root):
    for path in (root / 'train').rglob('*.jpg'):
        path.unlink()
    is_refused(start('train', root), 'train_dataloader.dataset', f'none in {root / "train"}')


def test_one_class_is_refused(root):
    for path in (root / 'train' / 'dog').iterdir():
        path.unlink()
    is_refused(start('train', root), 'train_dataloader.dataset', '6 images of one class')


@pytest.mark.parametrize(
    ('classes', 'refused'), [(('cat', 'dog'), False), (('dog', 'cat'), True), (('cat', 'hound'), False)]
)
def test_classes_of_the_teacher(root, classes, refused):
    assert start('train', root).status == 0
    path = root.parent / 'work_dirs' / 'config' / 'epoch_2.pth'
    checkpoint = torch.load(path, weights_only=True)
    checkpoint['meta']['dataset_meta'] = dict(classes=classes)
    teacher = root.parent / 'teacher.pth'
    torch.save(checkpoint, teacher)
    done = start('train', root, '--work-dir', 'distilled', more=DISTILLATION.format(checkpoint=str(teacher)))
    if refused:
        is_refused(done, 'train_dataloader.dataset', "'cat' as class 0", str(teacher), "'dog'")
        assert not (root.parent / 'distilled').exists()
    else:
        assert done.status == 0, done.stderr
        warned = "the teacher calls class 1 'hound', and the training data 'dog'" in done.stdout + done.stderr
        assert warned == ('hound' in classes)
