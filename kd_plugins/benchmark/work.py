"""The arithmetic and the traffic of a step, and how fast the device could do them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from kd_plugins.benchmark.setting import Setting
from kd_plugins.preflight.flops import flop_counter

# large enough to keep a GPU busy: 2 * 8192^3 is a TFLOP, and a GiB is far above its caches
MATRIX = 8192
COPIED = 2**30
REPEATS = 10
# what a GPU does that is no kernel
COPIES = ('Memcpy', 'Memset')


def flops_of_step(step: Callable[[], Any]) -> int:
    """Floating point operations of a step's convolutions and matrix products, forward and backward.

    Args:
        step: Runs the step, not compiled.
    """
    with flop_counter() as counter:
        step()
    return int(counter.get_total_flops())


@dataclass(frozen=True)
class Floor:
    """The least that a GPU could take for a step.

    Attributes:
        kernels: How many it starts.
        arithmetic: Operations of the step over the measured rate of matrix products in its precision, in seconds.
        memory: Bytes that a step allocates, each written once and read once, over the measured rate of copies, in
            seconds. A fused step allocates less: it is the floor of this step, not of the method.
    """

    kernels: int
    arithmetic: float
    memory: float

    @property
    def seconds(self) -> float:
        """The larger of the two."""
        return max(self.arithmetic, self.memory)


def floor_on_gpu(step: Callable[[], Any], flops: int, setting: Setting) -> Floor:
    """Measure a step on a GPU.

    Args:
        step: Runs the step.
        flops: Of :func:`flops_of_step`.
        setting: Its dtype is that of the matrix products.
    """
    before = torch.cuda.memory_stats().get('allocated_bytes.all.allocated', 0)
    step()
    torch.cuda.synchronize()
    traffic = 2 * (torch.cuda.memory_stats().get('allocated_bytes.all.allocated', 0) - before)
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        step()
        torch.cuda.synchronize()
    on_gpu = [event for event in profiler.events() or () if event.device_type == torch.autograd.DeviceType.CUDA]
    kernels = [event for event in on_gpu if not event.name.startswith(COPIES)]
    return Floor(len(kernels), flops / _matmul_rate(setting.dtype), traffic / _copy_rate())


def _matmul_rate(dtype: torch.dtype) -> float:
    """Operations a second."""
    matrix = torch.randn(MATRIX, MATRIX, device='cuda', dtype=dtype)
    return 2 * MATRIX**3 / _seconds(lambda: matrix @ matrix)


def _copy_rate() -> float:
    """Bytes read and written a second."""
    source = torch.zeros(COPIED, device='cuda', dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * COPIED / _seconds(lambda: target.copy_(source))


def _seconds(run: Callable[[], Any]) -> float:
    """The shortest of a few runs."""
    found = []
    for _ in range(REPEATS):
        torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return min(found)
