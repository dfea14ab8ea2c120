"""How a run of a sweep is started: as a process here, or by Slurm."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import torch

from kd_plugins.errors import Fault, UserError

LAUNCHERS = ('local', 'slurm')
# Linux's: a process asks to be sent a signal when its parent is gone
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
LOG = 'train.log'
SLURM_JOBS = 8


class Launcher:
    """Starts runs of ``tools/train.py``.

    Args:
        kind: ``'local'``, or ``'slurm'``: each run is a job of one task that ``srun`` starts, with ``SRUN_ARGS`` of the
            environment.
        script: Path of ``tools/train.py``.
        jobs: Runs at a time; as many as there are GPUs, one without any, and eight under Slurm by default.

    Raises:
        UserError: Slurm is not on this machine, a quote of ``SRUN_ARGS`` is not closed, or ``jobs`` is below 1.
    """

    def __init__(self, kind: str, script: Path, jobs: int | None = None) -> None:
        if kind == 'slurm' and shutil.which('srun') is None:
            raise UserError(Fault('--launcher', 'slurm where srun is', 'a machine without', 'leave --launcher out'))
        if jobs is not None and jobs < 1:
            raise UserError(Fault('--jobs', 'a whole number above 0', str(jobs), 'leave it out for the default'))
        self._srun_arguments = _srun_arguments() if kind == 'slurm' else []
        self.kind = kind
        self.script = script
        self.gpus = torch.cuda.device_count() if kind == 'local' else 0
        self.jobs = jobs or (SLURM_JOBS if kind == 'slurm' else max(1, self.gpus))

    def start(self, config: Path, folder: Path, seed: int, slot: int) -> subprocess.Popen[bytes]:
        """Start a run; what it prints goes to ``train.log`` in its folder.

        Args:
            config: Its config file.
            folder: Its work_dir, which is created.
            seed: Of all its random numbers.
            slot: Which of the runs at a time it is, from 0: it gets the GPU of that number.
        """
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(self.script), str(config), '--work-dir', str(folder), '--seed', str(seed)]
        if any(folder.glob('*.pth')):
            command.append('--resume')
        with (folder / LOG).open('wb') as log:
            return subprocess.Popen(
                [*self._before(folder), *command],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(slot),
                # Ctrl-C is for the sweep, which ends them
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    def _before(self, folder: Path) -> list[str]:
        if self.kind == 'local':
            return []
        name = f'--job-name={"-".join(folder.parts[-3:])}'
        return ['srun', name, '--ntasks=1', '--kill-on-bad-exit=1', *self._srun_arguments]

    def _environment(self, slot: int) -> dict[str, str]:
        environment = dict(os.environ)
        root = str(self.script.resolve().parents[1])
        environment['PYTHONPATH'] = os.pathsep.join(filter(None, [root, environment.get('PYTHONPATH', '')]))
        if self.kind == 'local':
            # runs at a time share the cores
            environment.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // self.jobs)))
            if self.gpus:
                visible = environment.get('CUDA_VISIBLE_DEVICES') or ','.join(map(str, range(self.gpus)))
                environment['CUDA_VISIBLE_DEVICES'] = visible.split(',')[slot % self.gpus]
        return environment


def _srun_arguments() -> list[str]:
    """``SRUN_ARGS`` as tools/slurm_train.sh reads it too: quotes group words, and nothing is expanded."""
    text = os.environ.get('SRUN_ARGS', '')
    try:
        return shlex.split(text)
    except ValueError as error:
        expected, advice = 'arguments of srun, quoted as for a shell', 'close the quote'
        raise UserError(Fault('SRUN_ARGS', expected, f'{text} ({error})', advice)) from error


def _end_with_parent() -> None:
    """A sweep that is killed outright leaves no run behind that the next one would meet."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
