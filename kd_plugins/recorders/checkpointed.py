"""Records of code that runs again in the backward, because its first run keeps no gradient."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch.utils.checkpoint import CheckpointFunction

from kd_plugins.errors import Fault, UserError

# what a user can do about it
WITHOUT_REENTRANT = (
    'turn checkpointing off (with_cp=False), or pass use_reentrant=False where the model calls torch.utils.checkpoint'
)
# the forward of the reentrant variant, which mmpretrain's with_cp=True uses
_FORWARD = CheckpointFunction.forward.__code__


def is_recomputed() -> bool:
    """Whether the caller runs in the first, gradient-free forward of a reentrant gradient checkpoint.

    What is computed there has no gradient: the graph is made in the backward, from other tensors. Where nothing that
    goes into the checkpoint requires gradient, as in a frozen teacher, none is missing either. Code that torch.compile
    traces is in no such forward, and must not look at frames.
    """
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return False
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code is _FORWARD:
            return any(frame.f_locals['ctx'].needs_input_grad)
    return False


class PartlyRecomputed(list[Any]):
    """Records of which some have no gradient and cannot be had; a loss of them would teach nothing, without a word.

    Args:
        records: One per call of the source.
        recomputed: Numbers of the calls that run again in the backward.
        source: Name of what was recorded.
    """

    def __init__(self, records: list[Any], recomputed: set[int], source: str) -> None:
        super().__init__(records)
        self._recomputed = recomputed
        self._source = source

    def __getitem__(self, call: Any) -> Any:
        """One record.

        Raises:
            UserError: It has no gradient.
        """
        if range(len(self))[call] in self._recomputed:
            got = f'call {call} of {self._source!r} in a reentrant gradient checkpoint, which runs it without one first'
            advice = f'choose a source outside of the checkpoint, {WITHOUT_REENTRANT}'
            raise UserError(Fault('', 'a record that carries gradient', got, advice))
        return super().__getitem__(call)
