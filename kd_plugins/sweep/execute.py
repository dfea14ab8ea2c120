"""The runs of a sweep, several at a time, each to its end whatever becomes of the others."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kd_plugins.report.result import FILE, Result, read_result
from kd_plugins.sweep.launch import LOG, Launcher
from kd_plugins.sweep.plan import Arm

# in seconds
POLL, GRACE = 0.2, 20
# lines of a failed run that a message has
LINES = 6


@dataclass(frozen=True)
class Run:
    """One training of a sweep.

    Attributes:
        arm: What is trained.
        seed: With which seed.
        config: The file that it is started with.
    """

    arm: Arm
    seed: int
    config: Path

    @property
    def folder(self) -> Path:
        """Its work_dir."""
        return self.arm.run_folder(self.seed)

    @property
    def label(self) -> str:
        """What it is called in a message."""
        return f'{self.arm.label} seed={self.seed}'


@dataclass(frozen=True)
class Failure:
    """A run that did not end well.

    Attributes:
        run: The run.
        status: Its exit status.
        message: The last lines that it printed.
    """

    run: Run
    status: int
    message: str


def execute(runs: Sequence[Run], launcher: Launcher, done: Callable[[Run, Result | None], None]) -> list[Failure]:
    """Run what is not done yet.

    Args:
        runs: In the order in which they are started.
        launcher: How.
        done: Called for each run that has ended, with its result; with None for one that failed.

    Returns:
        The runs that failed.
    """
    waiting, failures = deque(runs), []
    slots: list[tuple[Run, subprocess.Popen[bytes]] | None] = [None] * launcher.jobs
    try:
        while waiting or any(slots):
            for index, slot in enumerate(slots):
                if slot is not None and slot[1].poll() is not None:
                    slots[index] = None
                    failure = _outcome(*slot)
                    failures += [failure] if failure else []
                    done(slot[0], None if failure else read_result(slot[0].folder))
                if slots[index] is None and waiting:
                    run = waiting.popleft()
                    slots[index] = run, launcher.start(run.config, run.folder, run.seed, index)
            time.sleep(POLL)
    finally:
        _end([slot[1] for slot in slots if slot is not None])
    return failures


def _outcome(run: Run, process: subprocess.Popen[bytes]) -> Failure | None:
    if process.returncode == 0 and (run.folder / FILE).is_file():
        return None
    lines = (run.folder / LOG).read_text(encoding='utf-8', errors='replace').splitlines()
    # a mistake of the user is said in a block that begins so; of a crash the end says most
    starts = [index for index, line in enumerate(lines) if line.startswith('error: ')]
    shown = lines[starts[-1] :] if starts else lines[-LINES:]
    return Failure(run, process.returncode, '\n'.join(shown[:LINES]))


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End what still runs when the sweep itself is ended."""
    for process in processes:
        _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
