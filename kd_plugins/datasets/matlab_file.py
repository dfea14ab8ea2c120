"""Reads MATLAB files (version 5); imports SciPy, which takes long and which few runs need."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.io
from scipy.io.matlab import MatReadError

# what SciPy raises for bytes that are no MATLAB file
UNREADABLE = (MatReadError, OSError, ValueError, TypeError, LookupError, NotImplementedError, zlib.error, MemoryError)


def read_layout(file: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Read the shape and the type of each variable of a file, without the arrays.

    Args:
        file: Path of the file.

    Raises:
        Exception: One of ``UNREADABLE``, for a file of another kind.
    """
    return {name: (shape, kind) for name, shape, kind in scipy.io.whosmat(file)}


def read_variables(file: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read variables of a file.

    Args:
        file: Path of the file.
        names: Of the variables; one that the file lacks is left out.

    Raises:
        Exception: One of ``UNREADABLE``, for a file of another kind.
    """
    content = scipy.io.loadmat(file, variable_names=names)
    return {name: content[name] for name in names if name in content}
