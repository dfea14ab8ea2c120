"""What it costs to give an image the teacher's output for another one, and that training from a cache does not.

A tutorial keeps the teacher's outputs of the batches of one shuffled epoch, and gives them to the batches of other
epochs, which are shuffled anew. A cache of ours is asked by the number of the image.
"""

import shutil

import numpy as np
import pytest
import torch
from cached import CONFIGS, KD
from mmengine.hooks import Hook

from kd_plugins.engine.cache_plan import CacheOptions
from kd_plugins.engine.cache_teacher import cache_teacher
from kd_plugins.engine.config import load_config
from kd_plugins.engine.launch import prepare_training, run_training
from kd_plugins.teacher.cache import MANIFEST, ShardFiles, TeacherCache, read_manifest

EPOCHS, IMAGES = 30, 100


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    """Weights of a teacher of the quickstart, trained for less long."""
    folder = tmp_path_factory.mktemp('teacher')
    changes = {
        'work_dir': str(folder),
        'train_cfg.max_iters': 200,
        'param_scheduler': [dict(type='CosineAnnealingLR', end=200, by_epoch=False)],
        'val_dataloader': None,
        'val_cfg': None,
        'val_evaluator': None,
    }
    run_training(prepare_training(quiet(load_config(CONFIGS / 'teacher_vgg_digits.py', changes))))
    return folder / 'iter_200.pth'


def quiet(config):
    """The config, as one process and with few words."""
    config.launcher, config.log_level = 'none', 'WARNING'
    return config


def distillation(teacher, work_dir, labels, seed=0):
    """The tutorial's loss, alpha KL + (1 - alpha) CE at temperature 1; alpha is 0.5 with labels and 1 without.

    There is no augmentation: the views of an image are the same, and each epoch has one of its own.
    """
    alpha = 0.5 if labels else 1.0
    changes = {
        'work_dir': str(work_dir),
        'randomness.seed': seed,
        'model.teacher_ckpt': str(teacher),
        'model.distiller.distill_losses.loss_kl': dict(tau=1, loss_weight=alpha),
        'model.calculate_student_loss': labels,
        'model.architecture.head.loss': dict(type='CrossEntropyLoss', loss_weight=1 - alpha),
        'train_dataloader.batch_size': 10,
        'train_dataloader.sampler.type': 'DefaultSampler',
        'train_dataloader.dataset.pipeline': [dict(type='PackInputs')],
        'train_cfg': dict(_delete_=True, by_epoch=True, max_epochs=EPOCHS),
        'param_scheduler': [dict(type='CosineAnnealingLR', end=EPOCHS, convert_to_iter_based=True)],
        'default_hooks.checkpoint.by_epoch': True,
        'log_processor.by_epoch': True,
        'val_dataloader': None,
        'val_cfg': None,
        'val_evaluator': None,
    }
    return quiet(load_config(KD, changes))


def misalign(cache, copy, seed):
    """Copy a cache so that each of its views, that is each epoch, has the rows in another shuffled order."""
    shutil.copytree(cache, copy)
    manifest = read_manifest(copy, MANIFEST)
    files = ShardFiles(copy, manifest, str(copy))
    order = np.random.default_rng(seed)
    wrong = np.concatenate([view * IMAGES + order.permutation(IMAGES) for view in range(EPOCHS)])
    (part,) = files.parts
    rows = np.empty((manifest.rows, *part.shape), part.dtype)
    files.gather(part, wrong, rows)
    for shard in range(manifest.shards):
        span = manifest.rows_of(shard)
        files.write(shard, [rows[span.start : span.stop]])
    return copy


def accuracy(config, cache):
    """Train from a cache; top-1 on the test digits in percent."""
    config.model.teacher_cache = str(cache)
    runner = prepare_training(config)
    run_training(runner)
    return runner.test()['accuracy/top1']


def margin(labels, seeds, teacher, folder):
    """Points of test accuracy that aligned targets are better by, the mean over the seeds."""

    def config(name, seed=0):
        return distillation(teacher, folder / name, labels, seed)

    cache = folder / 'cache'
    cache_teacher(config('cache'), cache, CacheOptions(views=EPOCHS))
    found = {'aligned': [], 'misaligned': []}
    for seed in range(seeds):
        wrong = misalign(cache, folder / f'misaligned_{seed}', seed)
        for name, chosen in zip(found, (cache, wrong), strict=True):
            found[name].append(accuracy(config(f'{name}_{seed}', seed), chosen))
    for name, accuracies in found.items():
        print(f'{name}: {np.mean(accuracies):.2f}% of {[round(value, 2) for value in accuracies]}')
    return np.mean(found['aligned']) - np.mean(found['misaligned'])


@pytest.mark.slow
def test_targets_of_other_images_cost_accuracy_although_the_labels_are_right(teacher, tmp_path):
    assert margin(True, 3, teacher, tmp_path) > 0.5


@pytest.mark.slow
def test_targets_of_other_images_alone_teach_nothing(teacher, tmp_path):
    assert margin(False, 1, teacher, tmp_path) > 50


class Served(Hook):
    """Keeps the images of each step and what the cache answered."""

    def __init__(self, monkeypatch):
        self.answers, self.steps = [], []
        original = TeacherCache.records

        def records(cache, algorithm, samples, device):
            found = original(cache, algorithm, samples, device)
            (answer,) = found.values()
            self.answers.append(answer.clone())
            return found

        monkeypatch.setattr(TeacherCache, 'records', records)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        rows = [sample.teacher_row for sample in data_batch['data_samples']]
        self.steps.append((rows, torch.stack(list(data_batch['inputs']))))


@pytest.mark.slow
def test_each_row_served_is_what_the_teacher_says_to_that_image_and_view(teacher, tmp_path, monkeypatch):
    """With augmentation, where the views of an image differ, in shuffled epochs."""
    views = 3
    augmented = load_config(KD).train_dataloader.dataset.pipeline

    def config(name):
        made = distillation(teacher, tmp_path / name, labels=True)
        made.train_dataloader.dataset.pipeline = augmented
        made.train_cfg.max_epochs = views
        return made

    cache_teacher(config('cache'), tmp_path / 'cache', CacheOptions(views=views, dtype='float32'))
    training = config('run')
    training.model.teacher_cache = str(tmp_path / 'cache')
    runner = prepare_training(training)
    served = Served(monkeypatch)
    runner.register_hook(served)
    run_training(runner)

    rows = [row for batch, _ in served.steps for row in batch]
    assert sorted(rows) == list(range(views * IMAGES))
    assert rows != sorted(rows)
    algorithm = runner.model
    for (_, images), answer in zip(served.steps, served.answers, strict=True):
        with torch.no_grad():
            inputs = algorithm.data_preprocessor(dict(inputs=images))['inputs']
            torch.testing.assert_close(answer, algorithm.teacher(inputs), rtol=1e-4, atol=1e-4)
    answers = torch.cat(served.answers)
    assert len(answers.unique(dim=0)) == views * IMAGES  # no two rows have the same answer
