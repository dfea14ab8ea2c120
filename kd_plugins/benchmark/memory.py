"""Memory that a step takes."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

MEMORY_EVENT = '[memory]'


def peak_of_step(step: Callable[[], Any], device: str = 'cpu') -> int:
    """The most memory that tensors take at once in a step, above what they held before it, in bytes.

    On a GPU as its allocator counts it. On the CPU every allocation and release that PyTorch's allocator makes is
    summed in their order; scratch memory inside a library's operator is not PyTorch's, and is not counted. Memory that
    is older than the step and released in it is not taken off: the peak is that of what the step itself asks for.

    Args:
        step: Runs the step.
        device: ``'cpu'`` or ``'cuda'``.
    """
    if device == 'cuda':
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - held
    total = peak = 0
    for change in allocations_of(step):
        total += change
        peak = max(peak, total)
    return peak


def allocations_of(step: Callable[[], Any]) -> list[int]:
    """Every change of the CPU's tensor memory in a step in its order: bytes taken, or, below 0, given back.

    Args:
        step: Runs the step.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        step()
    results = profiler.profiler.kineto_results
    events = [event for event in results.events() if event.name() == MEMORY_EVENT]
    events.sort(key=lambda event: event.start_ns())
    return [event.nbytes() for event in events]


def resident_bytes() -> int:
    """Memory of this process that is in RAM, in bytes; where the system does not tell, the most that ever was."""
    statm = Path('/proc/self/statm')
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts in bytes, others in kilobytes
    return most if sys.platform == 'darwin' else most * 1024
