"""The files of a data set that could not be loaded: a list that workers and processes share."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path


class BadFileError(RuntimeError):
    """A sample cannot be loaded from its file, and may not be replaced.

    Its message is one line of JSON, for that is what a worker of a data loader can hand to its process.

    Args:
        message: Made by :meth:`about`; text before it, as torch adds it in front of what a worker raised, is left out.

    Attributes:
        file: Path of the file, or the place of a sample that has none.
        problem: What is wrong, to be put after the file.
        found: Bad files of this run, this one included.
        replace: How many of them may be replaced.
    """

    MARK = 'bad file: '

    def __init__(self, message: str) -> None:
        last = message.strip().rpartition('\n')[2]
        said = json.loads(last.partition(self.MARK)[2])
        super().__init__(self.MARK + json.dumps(said))
        self.file: str = said['file']
        self.problem: str = said['problem']
        self.found: int = said['found']
        self.replace: int = said['replace']

    @classmethod
    def about(cls, file: str, problem: str, found: int, replace: int) -> BadFileError:
        """The error of a file; arguments are the attributes."""
        return cls(cls.MARK + json.dumps(dict(file=file, problem=problem, found=found, replace=replace)))


class BadFiles:
    """The bad files of a run, each once.

    They are lines of JSON in a file to which every worker and process appends, so that each knows those of all. Without
    such a file, each knows its own.

    Args:
        path: The file; its folder must exist by the time that one is added. None for no file.
        since: Its bytes before which are the lines of earlier runs.
    """

    def __init__(self, path: str | None = None, since: int = 0) -> None:
        self.path, self.since = path, since
        self._own: dict[str, str] = {}

    def add(self, file: str, problem: str) -> int:
        """Add a file, if it is not there yet.

        Args:
            file: Its path.
            problem: What is wrong, to be put after its path.

        Returns:
            How many there are now.
        """
        if file not in self._own:
            self._own[file] = problem
            if self.path is not None:
                # where it cannot be written, as on a full disk, this process goes on counting by itself
                with suppress(OSError):
                    _append(self.path, json.dumps(dict(file=file, problem=problem)))
        return len(self.read())

    def read(self) -> dict[str, str]:
        """What is wrong with each file, in the order in which they were found."""
        found: dict[str, str] = {}
        if self.path is not None and os.path.exists(self.path):
            lines = Path(self.path).read_bytes()[self.since :]
            # the last line may be about to be written
            for line in lines[: lines.rfind(b'\n') + 1].splitlines():
                said = json.loads(line)
                found.setdefault(said['file'], said['problem'])
        return {**found, **self._own}


def _append(path: str, line: str) -> None:
    """Add a line to a file at once, so that lines of several processes do not mix."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, f'{line}\n'.encode())
    finally:
        os.close(descriptor)
