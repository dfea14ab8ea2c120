"""Several processes: on GPUs as mmengine does it, and on a machine without GPUs with gloo."""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed

from kd_plugins.errors import Fault, UserError


def prepare_distributed(config: Any) -> None:
    """Make a config that was launched as several processes run on this machine.

    Args:
        config: The whole config; ``env_cfg`` and ``model_wrapper_cfg`` are changed where there is no GPU.

    Raises:
        UserError: The launcher was named but did not start this process, or there are fewer GPUs than processes.
    """
    if config.launcher == 'none':
        return
    if config.launcher == 'pytorch' and 'LOCAL_RANK' not in os.environ:
        raise UserError(
            Fault(
                '--launcher',
                'a process started by torchrun',
                'pytorch, but LOCAL_RANK is not set',
                'run bash tools/dist_train.sh CONFIG GPUS',
            )
        )
    if torch.cuda.is_available():
        check_gpus(int(os.environ.get('LOCAL_WORLD_SIZE', 1)))
        return
    config.setdefault('env_cfg', {})
    config.env_cfg.dist_cfg = {**(config.env_cfg.get('dist_cfg') or {}), 'backend': 'gloo'}
    wrapper = config.get('model_wrapper_cfg') or dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=config.get('find_unused_parameters', False),
    )
    config.model_wrapper_cfg = {**wrapper, 'device_ids': None}
    if config.launcher == 'pytorch' and not torch.distributed.is_initialized():
        # mmengine would select a GPU first
        torch.distributed.init_process_group('gloo')


def check_gpus(processes: int) -> None:
    """Refuse more processes than GPUs, on a machine that has GPUs.

    Raises:
        UserError: With both numbers.
    """
    gpus = torch.cuda.device_count()
    if 0 < gpus < processes:
        raise UserError(
            Fault('GPUS', f'at most {gpus}, the GPUs of this machine', str(processes), 'start fewer processes')
        )
