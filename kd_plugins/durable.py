"""Files that are on disk as a whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

# what a file is called, behind its name, while it is written
UNFINISHED = '.tmp'


@contextmanager
def durable_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file under another name, flush it to disk, and rename it at the end of the context.

    Args:
        path: Of the file. What was there before stays until the new one is whole; so it does where an exception comes
            first, and nothing of the new one is left then.

    Raises:
        OSError: The disk is full, or cannot be written.
    """
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        with unfinished.open('wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk before going on."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # some network file systems cannot, and the file is whole by itself
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
