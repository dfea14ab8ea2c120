"""A disk without room ends a run with one message."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kd_plugins.errors import Fault, UserError

# a disk, a quota or a limit of a process
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def full_disk_refused(work_dir: str | Path) -> Iterator[None]:
    """Say in one message that the disk is full, whatever is written inside the context.

    Args:
        work_dir: Of the run.

    Raises:
        UserError: The disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        advice = 'make room, and go on with --resume: the checkpoints that were saved before are whole'
        raise UserError(Fault('work_dir', 'room for checkpoints and logs', f'{work_dir} ({error})', advice)) from error
