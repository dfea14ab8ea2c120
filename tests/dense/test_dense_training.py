"""A detector and a segmentor learn from a teacher: what falls, what stays, and what comes out."""

import math

import pytest
import torch
from cityscapes_tree import write_cityscapes
from coco_tree import write_coco
from mmengine.config import Config
from small_configs import CLASSES, DETECTOR, SEGMENTOR, write_config
from small_runs import read_log
from tool_process import run_tool

from kd_plugins.datasets import ResumableBatchSampler, ResumableSampler
from kd_plugins.engine.config import load_config
from kd_plugins.engine.launch import prepare_training
from kd_plugins.sweep.baseline import student_alone
from kd_plugins.teacher.cache import teacher_digests

STEPS = 50
TASKS = {
    'detector': (
        DETECTOR,
        'coco/bbox_mAP',
        # amid an epoch of 10, whose batches are made by AspectRatioBatchSampler
        'iter_25.pth',
        'iter_50.pth',
    ),
    'segmentor': (
        SEGMENTOR,
        'mIoU',
        'iter_30.pth',
        'iter_50.pth',
    ),
}


@pytest.fixture(scope='module', params=TASKS)
def trained(request, tmp_path_factory, _operators):
    """A task, its config, and its work_dirs: with the distillation, and without."""
    text, metric, middle, last = TASKS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == 'detector':
        root = write_coco(folder / 'coco', CLASSES, images=20, size=(96, 72))
    else:
        root = write_cityscapes(folder / 'cityscapes', images=6)
    path = write_config(folder / 'distilled.py', text, root)
    alone = folder / 'alone.py'
    student_alone(load_config(path)).dump(alone)
    train(folder, path, 'distilled', '--cfg-options', *teacher_of(path, folder))
    train(folder, alone, 'alone')
    return folder, path, metric, middle, last


def train(folder, config, work_dir, *more):
    done = run_tool('train', str(config), '--work-dir', str(folder / work_dir), *more, folder=folder, limit=800)
    assert done.status == 0, done.stderr[-3000:]


def teacher_of(path, folder):
    """Options that name a teacher whose BatchNorms know the data, trained for a few steps."""
    checkpoint = folder / 'teacher.pth'
    if not checkpoint.exists():
        config = load_config(path)
        config.model.architecture = config.model.teacher
        student_alone(config).dump(folder / 'teacher.py')
        train(folder, folder / 'teacher.py', 'teacher')
        checkpoint.symlink_to(folder / 'teacher' / TASKS[folder.name.rstrip('0123456789')][-1])
    return [f'model.teacher_ckpt={checkpoint}']


def losses(work_dir, name):
    return [line[name] for line in read_log(work_dir) if name in line]


class Shapes:
    """What a sampler by aspect ratio asks of a data set: images, of which every third is upright."""

    def __len__(self):
        return 20

    def get_data_info(self, index):
        return dict(width=96, height=72 if index % 3 else 128)


@pytest.mark.parametrize('first', range(1, 10))
def test_batches_by_aspect_ratio_begin_in_the_middle(first):
    batches = dict(type='mmdet.AspectRatioBatchSampler')
    whole, later = (
        ResumableBatchSampler(batches, ResumableSampler(dict(type='DefaultSampler'), Shapes(), seed=0), batch_size=2)
        for _ in range(2)
    )
    later.start_at(first)
    assert list(later) == list(whole)[first:]


@pytest.mark.slow
class TestTraining:
    def test_the_distillation_loss_falls(self, trained):
        folder = trained[0]
        names = {key for line in read_log(folder / 'distilled') for key in line if key.startswith('distill.loss')}
        assert names
        for name in names:
            values = losses(folder / 'distilled', name)
            assert len(values) == STEPS
            # the last level is a single place on these images
            assert sum(values[-5:]) < 0.95 * sum(values[:5]), name

    def test_the_students_own_loss_falls_with_and_without(self, trained):
        for arm in ('distilled', 'alone'):
            values = losses(trained[0] / arm, 'loss')
            assert all(map(math.isfinite, values))
            assert sum(values[-5:]) < sum(values[:5]), arm

    def test_all_three_are_validated(self, trained):
        folder, _, metric, *_ = trained
        assert len(losses(folder / 'distilled', metric)) == len(losses(folder / 'alone', metric)) == 1
        assert len(losses(folder / 'distilled', f'teacher.{metric}')) == 1

    def test_the_teacher_does_not_move(self, trained, tmp_path):
        folder, path, _, _, last = trained
        config = load_config(path, {'model.teacher_ckpt': str(folder / 'teacher.pth')})
        config.work_dir, config.launcher = str(tmp_path), 'none'
        runner = prepare_training(config)
        before = teacher_digests(runner.model)
        runner.train()
        assert teacher_digests(runner.model) == before
        state = torch.load(folder / 'distilled' / last, weights_only=True)['state_dict']
        assert not [name for name in state if name.startswith('teacher')]

    def test_a_resumed_training_ends_in_the_same_student(self, trained, tmp_path):
        folder, path, _, middle, last = trained
        middle = folder / 'distilled' / middle
        train(folder, path, tmp_path, '--resume', str(middle), '--cfg-options', *teacher_of(path, folder))
        whole, rest = (
            torch.load(work_dir / last, weights_only=True)['state_dict']
            for work_dir in (folder / 'distilled', tmp_path)
        )
        assert whole.keys() == rest.keys()
        assert all(torch.equal(whole[name], rest[name]) for name in whole)

    def test_the_student_loads_in_its_own_library(self, trained, tmp_path):
        folder, path, _, _, last = trained
        out = tmp_path / 'student.pth'
        done = run_tool('export_student', str(path), str(folder / 'distilled' / last), str(out), folder=folder)
        assert done.status == 0, done.stderr
        config = Config.fromfile(out.with_suffix('.py'))
        assert 'kd_plugins' not in config.pretty_text
        if config.default_scope == 'mmdet':
            from mmdet.apis import init_detector as init_model
        else:
            from mmseg.apis import init_model
        model = init_model(config, str(out), device='cpu')
        state = torch.load(folder / 'distilled' / last, weights_only=True)['state_dict']
        own = model.state_dict()
        assert all(
            torch.equal(own[name.removeprefix('architecture.')], value)
            for name, value in state.items()
            if name.startswith('architecture.')
        )
