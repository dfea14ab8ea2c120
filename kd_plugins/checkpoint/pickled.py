"""Look into the file of a checkpoint before anything in it is inflated or rebuilt."""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path
from typing import BinaryIO

from kd_plugins.checkpoint.allowed import is_allowed
from kd_plugins.checkpoint.refusal import ImplausibleError, RunsCodeError

# magic number, protocol, system, content, and the keys of the storages: how torch before 1.6 begins a file
LEGACY_PICKLES = 5
_ZIP = b'PK\x03\x04'


def most_that_a_file_holds(size: int) -> int:
    """Bytes that a checkpoint may take in memory: torch saves uncompressed, so little more than its file.

    Args:
        size: Of the file, in bytes.
    """
    return 2 * size + (1 << 20)


def refuse_hostile_file(path: Path) -> None:
    """Refuse a file of ``torch.save`` that is larger inside than outside, or that refers to more than plain values.

    Args:
        path: The file.

    Raises:
        ImplausibleError: Its parts would take far more than the file, or share names.
        RunsCodeError: A pickle in it refers to what no checkpoint needs.
        Exception: It is no such file, or a damaged one.
    """
    with path.open('rb') as file:
        if file.read(len(_ZIP)) == _ZIP:
            _refuse_hostile_zip(file, path.stat().st_size)
            return
        file.seek(0)
        for _ in range(LEGACY_PICKLES):
            _refuse_hostile_pickle(file)


def refuse_damaged_file(path: Path) -> None:
    """Hold what a file of ``torch.save`` holds against the checksums in it, which torch does not look at.

    Args:
        path: A file that is not hostile.

    Raises:
        ImplausibleError: Names the first part that is another than was written.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ImplausibleError(f'in which {damaged} is damaged')


def _refuse_hostile_zip(file: BinaryIO, size: int) -> None:
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        inflated = sum(part.file_size for part in parts)
        if inflated > most_that_a_file_holds(size):
            raise ImplausibleError(f'which would inflate from {size:,} to {inflated:,} bytes')
        if len({part.filename for part in parts}) != len(parts):
            raise ImplausibleError('which has several parts of one name')
        for part in parts:
            if part.filename.endswith('.pkl'):
                with archive.open(part) as pickled:
                    _refuse_hostile_pickle(pickled)


def _refuse_hostile_pickle(file: object) -> None:
    """Go through the next pickle of a file without running it."""
    for operation, argument, _ in pickletools.genops(file):  # type: ignore[arg-type]
        if operation.name in ('GLOBAL', 'INST'):
            name = str(argument).replace(' ', '.')
            if name.startswith('torch._utils._rebuild') and not is_allowed(name):
                raise ImplausibleError(f'which holds a tensor that is not a plain one ({name})')
            if not is_allowed(name):
                raise RunsCodeError(name)
        elif operation.name in ('STACK_GLOBAL', 'EXT1', 'EXT2', 'EXT4'):
            # of protocol 4, which torch does not write: the name is worked out while the pickle runs
            raise RunsCodeError(f'protocol 4, {operation.name}')
