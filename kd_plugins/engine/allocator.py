"""Memory that a process keeps between the steps of a training on the CPU."""

from __future__ import annotations

import ctypes
import platform

# parameters of glibc's mallopt, from its malloc.h
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGEST = 2**31 - 1
# what glibc's own thresholds have grown to after a step of a training
GROWN_MMAP_THRESHOLD = 32 * 2**20


def keep_freed_memory(keep: bool = True) -> bool:
    """Have freed memory kept by the process, for the next step, instead of given back to the system.

    A feature map of more than 32 MiB is mapped anew in each step otherwise, and the system clears it page by page: a
    tenth to a fifth of a plain loop's step on one machine (``bare-kept`` in docs/performance.md). The process grows to
    its peak and stays there.

    Args:
        keep: False for what glibc does by itself in a training, which a benchmark compares with.

    Returns:
        Whether it could be done: on Linux with glibc.
    """
    if platform.libc_ver()[0] != 'glibc':
        return False
    library = ctypes.CDLL(None)
    mmap_threshold = LARGEST if keep else GROWN_MMAP_THRESHOLD
    done = library.mallopt(MMAP_THRESHOLD, mmap_threshold) and library.mallopt(
        TRIM_THRESHOLD, LARGEST if keep else 2 * GROWN_MMAP_THRESHOLD
    )
    if not keep:
        library.malloc_trim(0)
    return bool(done)
