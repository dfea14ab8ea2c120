"""Several processes: on GPUs as mmengine does it, and on a machine without GPUs with gloo."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
from datetime import timedelta
from typing import Any

import torch
import torch.distributed

from kd_plugins.arguments import require_positive
from kd_plugins.errors import Fault, UserError

# what a launcher tells each process: its rank, the number of processes, its rank on its machine
PROCESS_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
# and how many of the processes are on its machine
LOCAL_SIZE_VARIABLES = {
    'pytorch': 'LOCAL_WORLD_SIZE',
    'slurm': 'SLURM_NTASKS_PER_NODE',
    'mpi': 'OMPI_COMM_WORLD_LOCAL_SIZE',
}
LAUNCH_LINES = {
    'pytorch': 'bash tools/dist_train.sh CONFIG GPUS',
    'slurm': 'bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG',
    'mpi': 'mpirun -n GPUS python tools/train.py CONFIG --launcher mpi',
}
DEFAULT_PORT = '29500'
# when a launch began, local time, as mmengine's checkpoints have it
LAUNCHED = 'KD_PLUGINS_LAUNCHED'
# which of Slurm's jobs a process is of; the same after it was queued again
JOB = 'SLURM_JOB_ID'
# how often a launcher has started the processes again
RESTART_VARIABLES = {'pytorch': 'TORCHELASTIC_RESTART_COUNT', 'slurm': 'SLURM_RESTART_COUNT'}


def prepare_distributed(config: Any) -> None:
    """Make a config that was launched as several processes run on this machine.

    On GPUs mmengine needs no help. Without, it would select a GPU all the same, and wrap the model for one: here the
    processes meet through gloo before it comes to that.

    Args:
        config: The whole config; ``env_cfg`` and ``model_wrapper_cfg`` are changed where there is no GPU.

    Raises:
        UserError: The launcher was named but did not start this process, there are fewer GPUs than processes,
            ``env_cfg.dist_cfg.timeout`` is no number of seconds, or ``sync_bn`` is asked for without GPUs.
    """
    launcher = config.launcher
    if launcher == 'none':
        return
    _check_launched_by(launcher)
    if torch.cuda.is_available():
        check_gpus(_processes_here(launcher))
        if os.environ.get(LOCAL_SIZE_VARIABLES[launcher]) == os.environ[PROCESS_VARIABLES[launcher][1]]:
            # for what they agree on beside their GPUs
            use_loopback()
        return
    if config.get('sync_bn'):
        expected = 'none on a machine without GPUs, for torch synchronises on GPUs alone'
        raise UserError(Fault('sync_bn', expected, repr(config.sync_bn), 'remove it, or freeze the BatchNorms'))
    config.setdefault('env_cfg', {})
    config.env_cfg.dist_cfg = {**(config.env_cfg.get('dist_cfg') or {}), 'backend': 'gloo'}
    wrapper = config.get('model_wrapper_cfg') or dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=config.get('find_unused_parameters', False),
    )
    config.model_wrapper_cfg = {**wrapper, 'device_ids': None}
    timeout = config.env_cfg.dist_cfg.get('timeout')
    if timeout is not None:
        require_positive('env_cfg.dist_cfg.timeout', timeout, 'give the seconds that a process waits for another')
    if not torch.distributed.is_initialized():
        _set_torch_variables(launcher)
        if os.environ.get(LOCAL_SIZE_VARIABLES[launcher]) == os.environ['WORLD_SIZE']:
            use_loopback()
        torch.distributed.init_process_group('gloo', timeout=None if timeout is None else timedelta(seconds=timeout))


def was_restarted(launcher: str) -> bool:
    """Whether torchrun or Slurm has started this process in place of one that ended before its work was done.

    Args:
        launcher: Of the config: in a job of Slurm's, other processes than those it launched are nothing's replacement.
    """
    return os.environ.get(RESTART_VARIABLES.get(launcher, ''), '0') not in ('', '0')


def leave_processes() -> None:
    """End the process group of this process, if it has one, at the end of its work.

    A thread of gloo that is still letting go of its last message as Python shuts down would abort the process.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        # a model that is wrapped for several processes has to be gone before the group is
        gc.collect()
        torch.distributed.destroy_process_group()


def use_loopback() -> None:
    """Let gloo's processes on one machine meet on its loopback interface, unless the user names another.

    Gloo takes the address that the machine's name resolves to, which need not lead back to it.
    """
    for _, name in socket.if_nameindex():
        if name in ('lo', 'lo0'):
            os.environ.setdefault('GLOO_SOCKET_IFNAME', name)


def check_gpus(processes: int) -> None:
    """Refuse more processes than GPUs, on a machine that has GPUs.

    Args:
        processes: Their number on this machine.

    Raises:
        UserError: With both numbers.
    """
    gpus = torch.cuda.device_count()
    if 0 < gpus < processes:
        raise UserError(
            Fault('GPUS', f'at most {gpus}, the GPUs of this machine', str(processes), 'start fewer processes')
        )


def rank_of_speaker() -> int:
    """How far this process is from the one that speaks for all, which is 0; 0 as well where no launcher started it.

    Of torchrun's processes the first of each machine speaks, for each machine has its own terminal; of Slurm's and
    MPI's the first of all.
    """
    for launcher, index in (('pytorch', 2), ('slurm', 0), ('mpi', 0)):
        variables = PROCESS_VARIABLES[launcher]
        if all(name in os.environ for name in variables):
            return int(os.environ[variables[index]])
    return 0


def _check_launched_by(launcher: str) -> None:
    missing = [name for name in PROCESS_VARIABLES[launcher] if name not in os.environ]
    if missing:
        raise UserError(
            Fault(
                '--launcher',
                'the launcher that started this process',
                f'{launcher}, but {", ".join(missing)} is not set',
                f'run {LAUNCH_LINES[launcher]}',
            )
        )


def _processes_here(launcher: str) -> int:
    """Processes on this machine as far as this one knows: torchrun says it, else there are those up to itself."""
    local_rank = int(os.environ[PROCESS_VARIABLES[launcher][2]])
    return max(int(os.environ.get('LOCAL_WORLD_SIZE', 1)), local_rank + 1)


def _set_torch_variables(launcher: str) -> None:
    """Tell torch in its own variables who this process is and where the first one listens."""
    for name, variable in zip(PROCESS_VARIABLES['pytorch'], PROCESS_VARIABLES[launcher], strict=True):
        os.environ[name] = os.environ[variable]
    os.environ.setdefault('MASTER_PORT', DEFAULT_PORT)
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _first_host() if launcher == 'slurm' else '127.0.0.1'


def _first_host() -> str:
    """The first machine of a Slurm job."""
    names = ['scontrol', 'show', 'hostnames', os.environ.get('SLURM_NODELIST', '')]
    try:
        return subprocess.run(names, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise UserError(
            Fault('--launcher', 'a Slurm job', f'slurm, but scontrol failed ({error})', 'set MASTER_ADDR')
        ) from error
