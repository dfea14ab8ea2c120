"""Checkpoints of strangers and of bad luck: hostile, broken, or of something else.

Each case is a function that writes one file, and says in its docstring what that is. None does harm where it is loaded:
sizes are of a few megabytes, against the reader's own limits or one that is lowered for the test, and calls create an
empty file. What others of their kind would do is said in words.
"""

from pathlib import Path

import hostile_pickles  # noqa: F401  its cases register themselves
import hostile_sizes  # noqa: F401
from hostile_cases import CASES, LIMITS, RUNS_CODE, Creates
from hostile_files import RESUME_ONLY
from hostile_safetensors import SAFETENSORS

__all__ = ['CASES', 'LIMITS', 'RESUME_ONLY', 'RUNS_CODE', 'SAFETENSORS', 'Creates', 'write']


def write(name: str, folder: Path, good: bytes, canary: Path) -> Path:
    """Write one of the cases into a folder and return its path."""
    path = folder / f'{name}{".safetensors" if name in SAFETENSORS else ".pth"}'
    CASES[name](path, good, canary)
    return path
