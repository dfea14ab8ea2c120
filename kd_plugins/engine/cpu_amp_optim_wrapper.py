"""Mixed precision on a CPU, which mmengine has for GPUs alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import nn

from kd_plugins.arguments import require_choice
from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import OPTIM_WRAPPERS

DTYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16}


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(AmpOptimWrapper):
    """mmengine's ``AmpOptimWrapper`` for a CPU: forward in half precision, weights and gradients in float32.

    Accumulation, clipping and the state in checkpoints are those of mmengine, so that a run that began on a GPU
    continues here, and the other way round.

    Args:
        loss_scale: As for mmengine's: ``'dynamic'``, a float for a fixed scale, or a dict of arguments of
            ``torch.amp.GradScaler``. For float16 alone: bfloat16 has the range of float32, and its loss is not scaled.
        dtype: ``'bfloat16'`` or ``'float16'``, or torch's type of that name.
        kwargs: Arguments of mmengine's ``OptimWrapper``: optimizer, accumulative_counts, clip_grad.

    Raises:
        UserError: ``dtype`` or ``loss_scale`` is none of these.
    """

    def __init__(
        self, loss_scale: str | float | dict[str, Any] = 'dynamic', dtype: str | torch.dtype = 'bfloat16', **kwargs: Any
    ) -> None:
        dtype = str(dtype).removeprefix('torch.')
        require_choice('dtype', dtype, tuple(DTYPES))
        # that of AmpOptimWrapper asserts a GPU, and builds a scaler for one
        OptimWrapper.__init__(self, **kwargs)
        self.cast_dtype = DTYPES[dtype]
        self._scale_update_param = loss_scale if isinstance(loss_scale, float) else None
        self.loss_scaler = _build_scaler(loss_scale, enabled=dtype == 'float16')

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the optimiser and the loss scale, where the run that saved them had one."""
        if not state_dict.get('loss_scaler', True):
            del state_dict['loss_scaler']
        super().load_state_dict(state_dict)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast on the CPU, inside mmengine's context for the accumulation of gradients."""
        with OptimWrapper.optim_context(self, model), torch.autocast('cpu', dtype=self.cast_dtype):
            yield


def _build_scaler(loss_scale: Any, enabled: bool) -> torch.amp.GradScaler:
    if loss_scale == 'dynamic':
        options: dict[str, Any] = {}
    elif isinstance(loss_scale, float):
        options = {'init_scale': loss_scale}
    elif isinstance(loss_scale, Mapping):
        options = dict(loss_scale)
    else:
        advice = "'dynamic' is the usual one"
        raise UserError(Fault('loss_scale', "'dynamic', a float or a dict", repr(loss_scale), advice))
    return torch.amp.GradScaler('cpu', **{'enabled': enabled, **options})
