"""Does the device compute in the precision that the optimiser asks for?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F

from kd_plugins.build import bare_name
from kd_plugins.errors import Fault, join_path
from kd_plugins.preflight.emulation import slowdown_on_cpu

# what the command line calls them, and what mmengine and torch do
HALF_PRECISIONS = {'bf16': 'bfloat16', 'fp16': 'float16'}
ON_GPU, ON_CPU = 'AmpOptimWrapper', 'CPUAmpOptimWrapper'


def optim_wrapper_parts(config: Any) -> Iterator[tuple[str, Any]]:
    """The configs of the optimiser wrappers of a config, each with its key path.

    With a constructor of its own, each part of the model may have one.

    Args:
        config: The whole config.
    """
    wrapper = config.get('optim_wrapper')
    if not isinstance(wrapper, dict):
        return
    if 'optimizer' in wrapper:
        yield 'optim_wrapper', wrapper
        return
    for name, part in wrapper.items():
        if isinstance(part, dict) and 'optimizer' in part:
            yield join_path('optim_wrapper', name), part


def precision_faults(config: Any) -> list[Fault]:
    """Look whether this machine trains in the mixed precision of a config.

    Args:
        config: The whole config.

    Returns:
        A fault for each optimiser that asks for a device or a precision that is not there.
    """
    on_gpu = torch.cuda.is_available()
    faults = []
    for where, part in optim_wrapper_parts(config):
        kind = bare_name(part.get('type'))
        if kind not in (ON_GPU, ON_CPU):
            continue
        if on_gpu != (kind == ON_GPU):
            device, other = ('a GPU', 'kd_plugins.CPUAmpOptimWrapper') if kind == ON_GPU else ('no GPU', ON_GPU)
            got = 'a machine without' if kind == ON_GPU else 'a machine with one'
            advice = f"pass --amp, which chooses by the machine, or write type='{other}'"
            if not on_gpu and slowdown_on_cpu(torch.bfloat16):
                advice = "write type='OptimWrapper', for this CPU has no instructions for half precision"
            faults.append(Fault(f'{where}.type', f'{device} for {kind}', got, advice))
            continue
        dtype = _precision_of(part, on_gpu)
        device = 'cuda' if on_gpu else 'cpu'
        # what is no precision at all, the wrapper itself refuses
        if dtype in HALF_PRECISIONS.values() and not computes_in(getattr(torch, dtype), device):
            other = next(name for name in HALF_PRECISIONS if HALF_PRECISIONS[name] != dtype)
            expected = f'a precision that the {"GPU" if on_gpu else "CPU"} computes in'
            advice = f'pass --amp {other}, or train without mixed precision'
            faults.append(Fault(f'{where}.dtype', expected, repr(dtype), advice))
    return faults


def precision_warnings(config: Any) -> list[Fault]:
    """Look for half precision that this machine's CPU emulates, which is slower than float32 instead of faster.

    Args:
        config: The whole config.
    """
    if torch.cuda.is_available():
        return []
    asked = [
        (
            f'{where}.dtype',
            _precision_of(part, on_gpu=False),
            "train in float32: without --amp, or with type='OptimWrapper'",
        )
        for where, part in optim_wrapper_parts(config)
        if bare_name(part.get('type')) == ON_CPU
    ]
    settings = (config.get('model') or {}).get('teacher_forward')
    teacher = settings.get('dtype') if isinstance(settings, Mapping) else None
    if isinstance(teacher, str) and teacher in HALF_PRECISIONS:
        asked.append(('model.teacher_forward.dtype', HALF_PRECISIONS[teacher], "write dtype='fp32'"))
    warnings = []
    for where, dtype, advice in asked:
        slowdown = slowdown_on_cpu(getattr(torch, dtype)) if dtype in HALF_PRECISIONS.values() else None
        if slowdown:
            got = f'{dtype!r}, which it emulates: a step takes about {slowdown} times as long as in float32'
            warnings.append(Fault(where, 'a precision that this CPU computes in', got, advice + _instead(dtype)))
    return warnings


def _instead(dtype: str) -> str:
    native = [name for name, other in HALF_PRECISIONS.items() if not slowdown_on_cpu(getattr(torch, other))]
    return f', or take {native[0]}, which it computes in' if native and HALF_PRECISIONS[native[0]] != dtype else ''


def _precision_of(part: Any, on_gpu: bool) -> str:
    """The dtype of an optimiser wrapper for mixed precision, by torch's name."""
    return str(part.get('dtype') or ('float16' if on_gpu else 'bfloat16')).removeprefix('torch.')


def computes_in(dtype: torch.dtype, device: str) -> bool:
    """Whether a device runs forward and backward under autocast to a half precision.

    Args:
        dtype: ``torch.bfloat16`` or ``torch.float16``.
        device: ``'cuda'`` or ``'cpu'``.
    """
    if device == 'cuda':
        return dtype == torch.float16 or torch.cuda.is_bf16_supported()
    with warnings.catch_warnings():
        # torch warns of a precision that it does not have, and goes on in float32
        warnings.simplefilter('ignore')
        try:
            image, kernel = torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 3, 3, requires_grad=True)
            with torch.autocast(device, dtype=dtype):
                output = F.linear(F.conv2d(image, kernel).flatten(1), kernel[0, 0, :, :1])
            output.sum().backward()
        except RuntimeError:
            return False
    return output.dtype == dtype
