"""Configs of the digits quickstart with a teacher whose weights are fixed, and caches of it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope

from kd_plugins.build import build_model
from kd_plugins.engine.cache_plan import CacheOptions
from kd_plugins.engine.cache_teacher import cache_teacher
from kd_plugins.engine.config import load_config
from kd_plugins.engine.launch import prepare_training, run_training

CONFIGS = Path(__file__).parents[1] / 'configs' / 'quickstart'
KD = CONFIGS / 'kd_vgg_cnn_digits.py'
IMAGES = 40
SMALL = CacheOptions(views=2, dtype='float32', batch=8)


def digits_config(folder: Path, path: Path = KD, **options: Any) -> Any:
    """A config of the quickstart whose teacher has weights of its own in ``folder``.

    Args:
        folder: Of the run.
        path: Of the config.
        options: Values by dotted key, with ``__`` for the dots.
    """
    given = {key.replace('__', '.'): value for key, value in options.items()}
    defaults = {
        'train_dataloader.dataset.num_images': IMAGES,
        'train_dataloader.batch_size': 10,
        'val_dataloader': None,
        'val_cfg': None,
        'val_evaluator': None,
        'log_level': 'WARNING',
    }
    config = load_config(path, {**defaults, 'work_dir': str(folder / 'run'), 'launcher': 'none', **given})
    if 'teachers' in config.model:
        for seed, teacher in enumerate(config.model.teachers.values()):
            teacher.ckpt_path = str(teacher_weights(folder, teacher.build_cfg, seed))
    else:
        config.model.teacher_ckpt = str(teacher_weights(folder, config.model.teacher))
    return config


def teacher_weights(folder: Path, teacher: Any, seed: int = 0) -> Path:
    """Weights of a teacher that says something, made once."""
    path = folder / f'teacher_{seed}.pth'
    if not path.exists():
        torch.manual_seed(seed)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            model, _ = build_model(copy.deepcopy(teacher), 'teacher')
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    torch.nn.init.kaiming_normal_(parameter)
        torch.save(model.state_dict(), path)
    return path


def write_cache(folder: Path, config: Any, options: CacheOptions = SMALL, name: str = 'cache') -> Path:
    """A cache of a config's teacher."""
    cache_teacher(config, folder / name, options)
    return folder / name


def shard_bytes(folder: Path) -> dict[str, bytes]:
    """Every array file of a cache."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob('*.npy'))}


class Watch(Hook):
    """Keeps the rows and the losses of each step."""

    def __init__(self) -> None:
        self.rows: list[list[int]] = []
        self.losses: list[dict[str, float]] = []

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.rows.append([sample.get('teacher_row') for sample in data_batch['data_samples']])
        self.losses.append({name: value.item() for name, value in outputs.items()})


def train_watched(config: Any) -> Watch:
    """Train, and keep what each step did."""
    runner = prepare_training(config)
    watch = Watch()
    runner.register_hook(watch)
    run_training(runner)
    return watch
