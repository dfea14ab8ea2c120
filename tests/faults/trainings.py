"""Small trainings on the digits for the tests of faults, and what comes of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from kd_plugins.build import build_model
from kd_plugins.engine.config import load_config

QUICKSTART = Path(__file__).parents[2] / 'configs/quickstart'
KD = QUICKSTART / 'kd_vgg_cnn_digits.py'
FITNETS = QUICKSTART / 'methods/fitnets_vgg_cnn_digits.py'


def write_teacher(folder: Path, seed: int = 0) -> Path:
    """A teacher with random weights, which is as good as any for a training that is to be repeated."""
    torch.manual_seed(seed)
    teacher, _ = build_model(load_config(KD).model.teacher, 'teacher')
    path = folder / f'teacher_{seed}.pth'
    torch.save({'state_dict': teacher.state_dict()}, path)
    return path


def write_config(folder: Path, body: str, base: Path = KD, name: str = 'config.py') -> Path:
    """A config on top of a shipped one, with a teacher of :func:`write_teacher`."""
    path = folder / name
    path.write_text(f'_base_ = [{str(base)!r}]\nmodel = dict(teacher_ckpt={str(write_teacher(folder))!r})\n{body}')
    return path


def weights_of(path: Path) -> str:
    """SHA-256 of all that a checkpoint holds of student, connectors and their averages."""
    checkpoint = torch.load(path, weights_only=True)
    digest = hashlib.sha256()
    for part in ('state_dict', 'ema_state_dict'):
        for name, tensor in sorted(checkpoint.get(part, {}).items()):
            digest.update(f'{part} {name}'.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
