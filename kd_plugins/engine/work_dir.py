"""A run that is refused leaves no trace in its work_dir."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kd_plugins.engine.distributed import rank_of_speaker
from kd_plugins.errors import Fault, UserError


@contextmanager
def work_dir_of_run(path: str | Path) -> Iterator[Path]:
    """Create the folder of a run, and undo that if the run is refused with a :class:`UserError` inside the context.

    What was in the folder before is never touched. Of several processes only the first does this: another could find
    the folder that this one made, or clean up what this one still needs.

    Args:
        path: The work_dir.

    Raises:
        UserError: The folder cannot be created or written.
    """
    path = Path(path)
    if rank_of_speaker():
        yield path
        return
    created = [part for part in (path, *path.parents) if not part.exists()]
    before = set(path.iterdir()) if path.is_dir() else set()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(
            Fault('work_dir', 'a folder that can be written', f'{path} ({error})', 'choose another with --work-dir')
        ) from error
    try:
        yield path
    except UserError:
        for entry in set(path.iterdir()) - before:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink(missing_ok=True)
        _remove_while_empty(created)
        raise


def _remove_while_empty(folders: list[Path]) -> None:
    """Remove folders from the innermost outwards, up to the first that another run has put something into."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return
