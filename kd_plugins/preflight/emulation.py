"""Does this CPU compute in half precision, or would it be emulated, many times slower than float32?"""

from __future__ import annotations

import platform
from dataclasses import dataclass

import torch

# Time of a training step over that of float32: ResNet-18, MobileNetV2 and two ViTs on one core of an AMD EPYC, with
# ONEDNN_MAX_CPU_ISA at its default, AVX512_CORE and AVX2. Convolutions and matrix products alone: up to 20 and 110.
EMULATED = '4 to 15'
WIDENED = '1 to 4'


@dataclass(frozen=True)
class CPUSupport:
    """What the processor has for half precision.

    Attributes:
        onednn_bfloat16: oneDNN has bfloat16 kernels here. It says so from AVX-512 on, where they may convert to float32
            and back, and it respects ``ONEDNN_MAX_CPU_ISA``.
        onednn_float16: oneDNN has float16 kernels here; it says so for AVX512-FP16 and AMX-FP16 alone.
        bfloat16_instructions: The processor multiplies bfloat16 itself, by AVX512-BF16 or AMX. No environment variable
            changes the answer.
    """

    onednn_bfloat16: bool
    onednn_float16: bool
    bfloat16_instructions: bool


def cpu_support() -> CPUSupport:
    """Ask oneDNN and the processor."""
    return CPUSupport(
        onednn_bfloat16=torch.ops.mkldnn._is_mkldnn_bf16_supported(),
        onednn_float16=torch.ops.mkldnn._is_mkldnn_fp16_supported(),
        # torch asks no other kind of processor about these; there, oneDNN itself looks for the instructions
        bfloat16_instructions=platform.machine() not in ('x86_64', 'AMD64')
        or torch.cpu._is_avx512_bf16_supported()
        or torch.cpu._is_amx_tile_supported(),
    )


def slowdown_on_cpu(dtype: torch.dtype) -> str | None:
    """How many times as long as in float32 a training step takes on this CPU.

    Args:
        dtype: ``torch.bfloat16`` or ``torch.float16``.

    Returns:
        A range, such as ``'4 to 15'``; None where the CPU computes in the precision itself.
    """
    support = cpu_support()
    if dtype == torch.float16:
        return None if support.onednn_float16 else EMULATED
    if not support.onednn_bfloat16:
        return EMULATED
    return None if support.bfloat16_instructions else WIDENED
