"""Launch scripts on the quick pair: a folder to run them in, a config for it, hooks that look on or break things."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from kd_plugins.build import build_model
from kd_plugins.engine.config import load_config

REPOSITORY = Path(__file__).parents[1]
CONFIG = REPOSITORY / 'configs/quickstart/kd_vgg_cnn_digits.py'
LAUNCH_VARIABLES = (
    *('NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT', 'RANK', 'LOCAL_RANK', 'WORLD_SIZE'),
    *('TORCHELASTIC_RESTART_COUNT', 'SLURM_RESTART_COUNT', 'TORCH_DISABLE_SHARE_RDZV_TCP_STORE'),
)

HOOKS = """
import hashlib
import os
import signal
import time
from pathlib import Path

import torch.distributed
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from kd_plugins.errors import Fault, UserError


@HOOKS.register_module()
class FingerprintHook(Hook):
    '''Writes what the student of each rank is after training.'''

    priority = 'VERY_LOW'

    def after_train(self, runner):
        digest = hashlib.sha256()
        for name, tensor in sorted(runner.model.module.student.state_dict().items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
        rank = torch.distributed.get_rank()
        Path(runner.work_dir, f'rank_{rank}.txt').write_text(
            f'{torch.distributed.get_world_size()} {torch.distributed.get_backend()} {digest.hexdigest()}'
        )


@HOOKS.register_module()
class CrashHook(Hook):
    '''Ends a process in its first step.'''

    def __init__(self, how, rank=1):
        self.how = how
        self.rank = rank

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if torch.distributed.get_rank() == self.rank:
            if self.how == 'raise':
                raise RuntimeError(f'a bug of somebody in process {self.rank}')
            if self.how == 'refuse':
                raise UserError(Fault('here', 'this', f'that in process {self.rank}', 'mend it'))
            os.kill(os.getpid(), signal.SIGKILL)


@HOOKS.register_module()
class ProcessHook(Hook):
    '''Says which process each rank is, from the fourth step on, and takes its time for each step.'''

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        time.sleep(0.05)
        path = Path(runner.work_dir, f'process_{torch.distributed.get_rank()}.txt')
        if runner.iter >= 3 and not path.exists():
            path.write_text(str(os.getpid()))
"""


def prepare(folder: Path) -> Path:
    """Put a random teacher and the module of hooks into a folder, to run the scripts in."""
    torch.manual_seed(0)
    teacher, _ = build_model(load_config(CONFIG).model.teacher, 'teacher')
    torch.save({'state_dict': teacher.state_dict()}, folder / 'teacher.pth')
    (folder / 'launch_hooks.py').write_text(HOOKS)
    return folder


def write_config(folder: Path, *hooks: Any, iterations: int = 4, interval: int = 4, **model: Any) -> Path:
    """The quick pair for a few iterations, with the hooks of this file.

    Args:
        folder: Of :func:`prepare`.
        hooks: Configs of hooks.
        iterations: That are trained.
        interval: Iterations from a checkpoint to the next.
        model: Keys of the model; the teacher in the folder is taken otherwise.
    """
    path = folder / 'tiny.py'
    path.write_text(
        f'_base_ = [{str(CONFIG)!r}]\n'
        f'model = dict(**{dict(teacher_ckpt="teacher.pth") | model!r})\n'
        "custom_imports = dict(imports=['launch_hooks'])\n"
        'env_cfg = dict(dist_cfg=dict(timeout=120))\n'
        f'custom_hooks = {list(hooks)!r}\n'
        f'train_cfg = dict(max_iters={iterations}, val_interval={iterations})\n'
        f'default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval={interval}))\n'
    )
    return path


def command(script: str, *arguments: Any) -> list[str]:
    """A script of ``tools/`` with arguments."""
    return ['bash', str(REPOSITORY / 'tools' / script), *map(str, arguments)]


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """Environment variables for a script: one thread, the hooks of the folder, and of a launch only those given."""
    own = {name: value for name, value in os.environ.items() if name not in LAUNCH_VARIABLES}
    return own | {'PYTHONPATH': str(folder), 'OMP_NUM_THREADS': '1', **variables}
