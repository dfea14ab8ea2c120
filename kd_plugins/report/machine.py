"""The machine and the versions that numbers belong to."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from kd_plugins.stack import installed_package

LIBRARIES = (
    'torch',
    'torchvision',
    'mmengine',
    'mmcv',
    'mmpretrain',
    'mmdet',
    'mmseg',
    'mmrazor',
    'torchdistill',
    'nvidia-modelopt',
    'numpy',
)


def describe_machine(device: str) -> dict[str, Any]:
    """What a number means little without; the load is that of the last minute, this process's own work included.

    Args:
        device: ``'cpu'`` or ``'cuda'``.
    """
    return dict(
        cpu=_cpu_name(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        load=round(os.getloadavg()[0], 2) if hasattr(os, 'getloadavg') else None,
        gpu=torch.cuda.get_device_name() if device == 'cuda' else None,
        system=f'{platform.system()} {platform.release()}',
        python=platform.python_version(),
    )


def installed_versions() -> dict[str, str]:
    """Versions of what takes part, by package; what is not installed is left out."""
    return dict(found for library in LIBRARIES if (found := installed_package(library)))


def _cpu_name() -> str:
    listed = Path('/proc/cpuinfo')
    if listed.exists():
        for line in listed.read_text().splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()
