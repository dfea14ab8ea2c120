"""The tools of this package as processes of their own that need not import everything again.

A fork server imports torch, OpenMMLab and the package once; each run is a child of it with its own process id, working
folder, environment, output and exit status. What runs is the ``main`` of ``tools/NAME.py``, and ``sys.exit`` with what
it returns, as in the file itself.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

REPOSITORY = Path(__file__).parents[1]
PRELOADED = ['torch', 'mmengine', 'mmpretrain.datasets', 'mmpretrain.models', 'tools.train', 'tools.test']

_server = multiprocessing.get_context('forkserver')
_server.set_forkserver_preload([*PRELOADED, 'kd_plugins.losses', 'kd_plugins.algorithms', 'kd_plugins.datasets'])


@dataclass
class Done:
    """How a run ended.

    Attributes:
        status: The exit status; -n where signal n ended it, as ``subprocess`` counts.
        stdout: What was printed.
        stderr: What was printed to stderr.
        seconds: That it took.
    """

    status: int
    stdout: str
    stderr: str
    seconds: float


class ToolProcess:
    """A tool that was started.

    Args:
        tool: Name of the file in ``tools/``, without ``.py``.
        arguments: Of its command line.
        folder: Where it runs, and where ``stdout.txt`` and ``stderr.txt`` are written.
        variables: Environment variables on top of this process's own.
    """

    def __init__(self, tool: str, *arguments: Any, folder: Path, **variables: str) -> None:
        self._printed = [folder / 'stdout.txt', folder / 'stderr.txt']
        for path in self._printed:
            path.unlink(missing_ok=True)
        self._start = time.monotonic()
        environment = {'OMP_NUM_THREADS': '1', **variables}
        self._process = _server.Process(
            target=_run, args=(tool, list(map(str, arguments)), str(folder), environment, list(map(str, self._printed)))
        )
        self._process.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.is_alive()

    def send(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait_for(self, text: str, limit: float = 120) -> None:
        """Wait until ``text`` was printed, on either stream."""
        deadline = time.monotonic() + limit
        while not any(text in path.read_text() for path in self._printed if path.exists()):
            if not self.running or time.monotonic() > deadline:
                raise AssertionError(f'{text!r} was not printed:\n{self.printed()}')
            time.sleep(0.02)

    def printed(self) -> str:
        """What was printed up to now, on both streams."""
        return '\n'.join(path.read_text() for path in self._printed if path.exists())

    def wait(self, limit: float = 240) -> Done:
        """Wait for the end; a process that takes longer than ``limit`` seconds is killed, and that is an error."""
        self._process.join(limit)
        late = self.running
        if late:
            self.send(signal.SIGKILL)
            self._process.join()
        if late:
            raise AssertionError(f'ran longer than {limit} s:\n{self.printed()}')
        stdout, stderr = (path.read_text() if path.exists() else '' for path in self._printed)
        return Done(self._process.exitcode, stdout, stderr, time.monotonic() - self._start)


def run_tool(tool: str, *arguments: Any, folder: Path, limit: float = 240, **variables: str) -> Done:
    """Run a tool to its end; arguments are those of :class:`ToolProcess`."""
    return ToolProcess(tool, *arguments, folder=folder, **variables).wait(limit)


def _run(tool: str, arguments: list[str], folder: str, environment: dict[str, str], printed: list[str]) -> None:
    # the end of it ends what it has started, data loading too
    os.setpgrp()
    for descriptor, path in zip((1, 2), printed, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.environ.update(environment)
    # torch has read the variable already, in the server
    torch.set_num_threads(int(environment['OMP_NUM_THREADS']))
    # Python reads PYTHONPATH as it starts
    sys.path[:0] = [str(REPOSITORY), *filter(None, os.environ.get('PYTHONPATH', '').split(os.pathsep))]
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # as in a process that was started by itself
    multiprocessing.set_start_method('fork', force=True)
    sys.exit(importlib.import_module(f'tools.{tool}').main(arguments))
