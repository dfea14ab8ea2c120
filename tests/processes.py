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
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch.multiprocessing
from torch.multiprocessing.spawn import ProcessException

PROBE_LIMIT = 60
# torchrun's workers have sessions of their own: asked to end, it takes up to 30 s to kill them
GRACE = 40

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
"""


def run(command: list[str], limit: float = 300, **options: Any) -> subprocess.CompletedProcess[str]:
    """``subprocess.run`` with what was printed, for commands that start processes in turn.

    The output goes to files: a pipe stays open as long as any process down the line holds it.
    """
    with tempfile.TemporaryFile('w+') as stdout, tempfile.TemporaryFile('w+') as stderr:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, start_new_session=True, **options)
        try:
            late = _is_late(process, limit)
        finally:
            _end(process)
        printed = []
        for file in (stdout, stderr):
            file.seek(0)
            printed.append(file.read())
    if late:
        _blame(f'{command} ran longer than {limit} s', '\n'.join(printed))
    if process.returncode and _is_about_time(printed[1]):
        _skip_if_gloo_fails(printed[1])
    return subprocess.CompletedProcess(command, process.returncode, *printed)


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
    """End a process and its group: asked first, so that it ends its own, then killed."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        _is_late(process, GRACE)
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
