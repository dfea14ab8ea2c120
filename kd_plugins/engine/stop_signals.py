"""SIGTERM and Ctrl-C stop a training after its step, with a checkpoint; a second one stops it at once."""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
import torch.distributed
from mmengine.dist import is_distributed

# of Slurm and of torchrun, and of a terminal
STOPPING = (signal.SIGTERM, signal.SIGINT)
_received: list[int] = []


class StopRequested(Exception):  # noqa: N818  no error: what a user asked for
    """A training was asked to stop.

    Attributes:
        number: Of the signal.
        saved: The checkpoint to go on from; None where the run saves none.
        iteration: Iterations that were done.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f'stopped by {signal.Signals(number).name}')
        self.number = number
        self.saved: str | None = None
        self.iteration = 0

    @property
    def status(self) -> int:
        """The exit status: 128 and the number of the signal, as shells have it."""
        return 128 + self.number


@contextmanager
def stoppable() -> Iterator[None]:
    """Inside, the first signal is kept for :func:`requested_stop`, and the second ends the process."""
    if threading.current_thread() is not threading.main_thread():
        # Python delivers signals to the main thread alone
        yield
        return
    before = {number: signal.signal(number, _keep) for number in STOPPING}
    _received.clear()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def requested_stop() -> int:
    """The signal that was received, by whichever process; 0 for none.

    To be called by every process after the same step, for all have to stop after it.
    """
    number = _received[0] if _received else 0
    if not is_distributed():
        return number
    highest = torch.tensor(number)
    torch.distributed.all_reduce(highest, torch.distributed.ReduceOp.MAX, group=_group_of_cpus())
    return int(highest)


@functools.cache
def _group_of_cpus() -> torch.distributed.ProcessGroup | None:
    """All processes, over gloo: no GPU is waited for."""
    return None if torch.distributed.get_backend() == 'gloo' else torch.distributed.new_group(backend='gloo')


def _keep(number: int, frame: FrameType | None) -> None:
    if _received:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    _received.append(number)
