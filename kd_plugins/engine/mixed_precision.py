"""``--amp``: mixed precision written into a config, for the device that the run will have."""

from __future__ import annotations

from typing import Any

import torch

from kd_plugins.errors import Fault, UserError
from kd_plugins.preflight.emulation import slowdown_on_cpu
from kd_plugins.preflight.precision import HALF_PRECISIONS, optim_wrapper_parts


def use_mixed_precision(config: Any, precision: str | None = None) -> None:
    """Let every optimiser of a config train in mixed precision.

    On a GPU that is mmengine's ``AmpOptimWrapper``, elsewhere this package's ``CPUAmpOptimWrapper``. Whether the device
    computes in the precision is left to the preflight.

    Args:
        config: The whole config, of which ``optim_wrapper`` is changed.
        precision: ``'bf16'`` or ``'fp16'``. If None, what the config says in ``dtype``, and if it says nothing, what is
            usual on the device: float16 with a dynamic loss scale on a GPU, bfloat16 on a CPU.

    Raises:
        UserError: Nothing says which precision, and the CPU would emulate bfloat16.
    """
    on_gpu = torch.cuda.is_available()
    parts = list(optim_wrapper_parts(config))
    if precision is None and not on_gpu and not all(part.get('dtype') for _, part in parts):
        _refuse_emulation()
    for _, part in parts:
        part['type'] = 'AmpOptimWrapper' if on_gpu else 'kd_plugins.CPUAmpOptimWrapper'
        if precision is not None:
            part['dtype'] = HALF_PRECISIONS[precision]
        elif not on_gpu:
            part.setdefault('dtype', 'bfloat16')
        if part.get('dtype') == 'bfloat16':
            # its range is that of float32; the scaler's search for infinities would make the CPU wait for the GPU
            part['loss_scale'] = dict(enabled=False)
        else:
            part.setdefault('loss_scale', 'dynamic')


def _refuse_emulation() -> None:
    slowdown = slowdown_on_cpu(torch.bfloat16)
    if slowdown:
        expected = 'a GPU, or a CPU that computes in bfloat16 (AVX512-BF16 or AMX)'
        got = f'a CPU that emulates it: a step would take about {slowdown} times as long as in float32'
        advice = 'leave --amp out; to train in it all the same, for a test, write --amp bf16'
        raise UserError(Fault('--amp', expected, got, advice))
