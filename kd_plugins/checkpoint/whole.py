"""Checkpoints that are on disk as a whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from kd_plugins.checkpoint.digest import digest_beside
from kd_plugins.durable import UNFINISHED, durable_file

# its name among mmengine's file backends
BACKEND = 'kd_plugins.whole'
# what checkpoints of ours hold besides mmengine's
OWN_KEY = 'kd_plugins'


class WholeFileBackend(LocalBackend):
    """mmengine's backend of local files, whose files are never half.

    The SHA-256 of a file is put beside it afterwards: at every moment, a digest is that of the file, or there is none.
    """

    def __init__(self) -> None:
        self._waiting: list[str] | None = None

    def put(self, obj: bytes | memoryview, filepath: str | Path) -> None:
        """Write a file.

        Args:
            obj: Its content.
            filepath: Where it will be. What was there stays until the new file is whole.

        Raises:
            OSError: It cannot be written; nothing of it is left then.
        """
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        with durable_file(path) as file:
            file.write(obj)
            digest_beside(path).unlink(missing_ok=True)
        with durable_file(digest_beside(path)) as file:
            file.write(f'{hashlib.sha256(obj).hexdigest()}  {path.name}\n'.encode())

    def remove(self, filepath: str | Path) -> None:
        """Remove a file and its digest, inside :meth:`removing_afterwards` at its end."""
        if self._waiting is not None:
            self._waiting.append(str(filepath))
            return
        digest_beside(Path(filepath)).unlink(missing_ok=True)
        Path(filepath).unlink(missing_ok=True)

    @contextmanager
    def removing_afterwards(self) -> Iterator[None]:
        """Put removals off to the end, and leave everything there where an exception comes before it."""
        if self._waiting is not None:
            yield
            return
        self._waiting = []
        try:
            yield
            waiting = self._waiting
        except BaseException:
            waiting = []
            raise
        finally:
            self._waiting = None
        for path in waiting:
            self.remove(path)


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process was writing.

    Args:
        folder: Of the checkpoints.
    """
    for path in folder.glob(f'*.pth*{UNFINISHED}'):
        path.unlink(missing_ok=True)


register_backend(BACKEND, WholeFileBackend, force=True)
