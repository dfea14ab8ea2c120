"""The losses of one forward, on their way from the device to Python."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

import torch
import torch.distributed
from mmengine.dist import get_world_size


class LossValues:
    """Copies losses to the CPU behind the work that is already queued on the GPU, and waits when they are asked for.

    Of several processes each learns whether the losses of all are finite: one number goes around, beside what the GPU
    does next. Every process has to make one of these then.

    Args:
        losses: Scalars by name, at least one; all go to the device of the first.
    """

    def __init__(self, losses: Mapping[str, torch.Tensor]) -> None:
        self._names = tuple(losses)
        device = next(iter(losses.values())).device
        values = torch.stack([value.detach().to(device, torch.float32, non_blocking=True) for value in losses.values()])
        # (K,) -> (K + 1,); the last one is 1 where all of them are finite
        self._values = torch.cat([values, torch.isfinite(values).all().float()[None]])
        self._work: torch.distributed.Work | None = None
        self._copied: torch.cuda.Event | None = None
        if get_world_size() > 1:
            smallest = torch.distributed.ReduceOp.MIN
            self._work = torch.distributed.all_reduce(self._values[-1:], op=smallest, async_op=True)
        self._host = self._copy() if self._values.is_cuda else self._values

    @property
    def finite(self) -> bool:
        """Whether all losses are finite, in every process; waits for them."""
        return self._numbers[-1] == 1

    @property
    def bad(self) -> dict[str, float]:
        """The losses of this process that are not finite, by name; waits for them."""
        numbers = zip(self._names, self._numbers, strict=False)
        return {name: number for name, number in numbers if not math.isfinite(number)}

    def _copy(self) -> torch.Tensor:
        """Start the copy; it waits for other processes on a stream of its own, where it holds nobody up."""
        device = self._values.device
        now = torch.cuda.current_stream(device)
        stream = now if self._work is None else _stream_beside(device)
        stream.wait_stream(now)
        with torch.cuda.stream(stream):
            if self._work is not None:
                self._work.wait()
            # into pinned memory
            host = self._values.to('cpu', non_blocking=True)
            self._copied = stream.record_event()
        return host

    @functools.cached_property
    def _numbers(self) -> list[float]:
        if self._copied is not None:
            self._copied.synchronize()
        elif self._work is not None:
            self._work.wait()
        return self._host.tolist()


@functools.cache
def _stream_beside(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
