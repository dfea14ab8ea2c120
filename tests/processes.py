"""Several processes that end in time, whatever happens.

Where a time limit passes, a probe that is torch and gloo alone decides whether the machine is to blame: the test is
skipped then, and fails otherwise. What is started here is killed here.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

import pytest
import torch.multiprocessing
from torch.multiprocessing.spawn import ProcessException

PROBE_LIMIT = 60
# the workers of a launch have sessions of their own: asked twice to end, it kills them
GRACE = 20
GRACE_AGAIN = 20

PROBE = """
import sys
from datetime import timedelta
import torch
import torch.distributed
torch.distributed.init_process_group(
    'gloo', init_method='file://' + sys.argv[1], rank=int(sys.argv[2]), world_size=2, timeout=timedelta(seconds=50)
)
for _ in range(5):
    torch.distributed.all_reduce(torch.ones(2**18))  # 1 MB
torch.distributed.destroy_process_group()
"""


def run(command: list[str], limit: float = 300, **options: Any) -> subprocess.CompletedProcess[str]:
    """``subprocess.run`` with what was printed, for commands that start processes in turn."""
    with started(command, **options) as launch:
        return launch.wait(limit)


class Launch:
    """A command that starts processes in turn, while it runs.

    The output goes to files: a pipe stays open as long as any process down the line holds it.

    Args:
        process: The command.
        stdout: Where it prints.
        stderr: Where it complains.
    """

    def __init__(self, process: subprocess.Popen[Any], stdout: IO[str], stderr: IO[str]) -> None:
        self.process = process
        self._files = stdout, stderr

    def wait(self, limit: float = 300) -> subprocess.CompletedProcess[str]:
        """Wait for the end. One that takes longer than ``limit`` seconds is ended, and to blame."""
        late = _is_late(self.process, limit)
        _end(self.process)
        printed = self.printed()
        if late:
            _blame(f'{self.process.args} ran longer than {limit} s', '\n'.join(printed))
        if self.process.returncode and _is_about_time(printed[1]):
            _skip_if_gloo_fails(printed[1])
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, *printed)

    def wait_for(self, happened: Callable[[], Any], limit: float = 120) -> None:
        """Wait until something has happened that the command does."""
        deadline = time.monotonic() + limit
        while not happened():
            if self.process.poll() is not None or time.monotonic() > deadline:
                _blame(f'{self.process.args} did not come to it', '\n'.join(self.printed()))
            time.sleep(0.02)

    def printed(self) -> tuple[str, str]:
        """What was printed up to now."""
        return tuple(Path(file.name).read_text() for file in self._files)  # type: ignore[return-value]


@contextlib.contextmanager
def started(command: list[str], **options: Any) -> Iterator[Launch]:
    """Start a command; it does not outlive the context."""
    with tempfile.NamedTemporaryFile('w') as stdout, tempfile.NamedTemporaryFile('w') as stderr:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, start_new_session=True, **options)
        try:
            yield Launch(process, stdout, stderr)
        finally:
            _end(process)


def spawn(function: Callable[..., None], arguments: tuple[Any, ...], processes: int, limit: float = 180) -> None:
    """Run ``function(rank, *arguments)`` in each of several processes."""
    context = torch.multiprocessing.spawn(function, arguments, nprocs=processes, join=False)
    deadline = time.monotonic() + limit
    try:
        while not context.join(timeout=max(0, deadline - time.monotonic()), grace_period=5):
            if time.monotonic() > deadline:
                _blame(f'{processes} processes of {function.__name__} ran longer than {limit} s')
    except ProcessException as error:
        if _is_about_time(str(error)):
            _skip_if_gloo_fails(str(error))
        raise
    finally:
        for process in context.processes:
            process.kill()
            process.join()


@functools.cache
def gloo_fault() -> str:
    """Why gloo does not work on this machine, '' where it does: two processes add 1 MB a few times."""
    loopback = next((name for _, name in socket.if_nameindex() if name in ('lo', 'lo0')), '')
    environment = {**({'GLOO_SOCKET_IFNAME': loopback} if loopback else {}), **os.environ}
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder, 'meeting')
        command = [sys.executable, '-c', PROBE, str(meeting)]
        with Path(folder, 'printed').open('w+') as printed:
            both = [
                subprocess.Popen([*command, str(rank)], env=environment, stdout=printed, stderr=printed)
                for rank in range(2)
            ]
            deadline = time.monotonic() + PROBE_LIMIT
            try:
                if any(_is_late(process, max(0, deadline - time.monotonic())) for process in both):
                    return f'two processes with torch and gloo alone do not end within {PROBE_LIMIT} s'
            finally:
                for process in both:
                    process.kill()
                    process.wait()
            if any(process.returncode for process in both):
                printed.seek(0)
                return f'two processes with torch and gloo alone fail: {printed.read()[-500:]}'
    return ''


def _is_late(process: subprocess.Popen[Any], limit: float) -> bool:
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired:
        return True
    return False


def _end(process: subprocess.Popen[Any]) -> None:
    """End a process and its group: asked first, so that it ends its own, asked again, then killed."""
    if process.poll() is None:
        for patience in (GRACE, GRACE_AGAIN):
            os.killpg(process.pid, signal.SIGTERM)
            if not _is_late(process, patience):
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _is_about_time(text: str) -> bool:
    return re.search(r'timed?[ -]?out', text, re.IGNORECASE) is not None


def _blame(what: str, printed: str = '') -> NoReturn:
    _skip_if_gloo_fails(what)
    pytest.fail(f'{what}; printed:\n{printed}')


def _skip_if_gloo_fails(what: str) -> None:
    if fault := gloo_fault():
        pytest.skip(f'{fault} (found after: {what[-300:]})')
