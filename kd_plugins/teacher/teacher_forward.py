"""How a frozen teacher is run in a training step: the switches of ``teacher_forward``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch

from kd_plugins.arguments import refuse_other_keys, require_choice
from kd_plugins.errors import Fault, Faults, UserError

DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
MODES = ('auto', 'loss', 'tensor')


@dataclass(frozen=True)
class TeacherForward:
    """Switches of a frozen teacher's forward. None of the defaults changes a record by more than rounding.

    Attributes:
        fold_bn: Fold each BatchNorm into the convolution before it, where nothing else uses or records what is between
            the two.
        inplace: Let activations overwrite their input, where nothing else uses or records it.
        channels_last: Run convolutions with channels last in memory.
        stop_early: Stop after the last recorded call.
        mode: Of the teacher's forward: ``'loss'``, ``'tensor'``, or ``'auto'``, which is ``'tensor'`` where that gives
            the same records, or where the loss fails, as on data of other classes or without masks.
        inference_mode: Run under ``torch.inference_mode``, and copy the records out of it, for a loss cannot use them
            otherwise.
        dtype: ``'fp32'``, ``'bf16'`` or ``'fp16'``: autocast of the teacher alone; None for that of the training.
        compile: Run it through ``torch.compile``, wholly; a dict has its options.
        shard: Share the weights out to all processes, for a teacher that is too large for one device: those of a block
            are gathered for its forward, and freed. The teacher runs as it is built then, wholly and in mode ``'loss'``
            unless ``mode`` says ``'tensor'``.
    """

    fold_bn: bool = True
    inplace: bool = True
    channels_last: bool = True
    stop_early: bool = True
    mode: str = 'auto'
    inference_mode: bool = False
    dtype: str | None = None
    compile: bool | Mapping[str, Any] = False
    shard: bool = False

    @classmethod
    def read(cls, config: Any, where: str = 'teacher_forward') -> TeacherForward:
        """From what a config says.

        Args:
            config: Values by switch; those that are left out have their defaults. None for all of the defaults.
            where: Key path of ``config``.

        Raises:
            UserError: With every key that is none of the switches, and every value that a switch does not have.
        """
        if isinstance(config, cls):
            return config
        if config is not None and not isinstance(config, Mapping):
            raise UserError(Fault(where, 'a dict', repr(config), 'write teacher_forward=dict(fold_bn=False, …)'))
        given = dict(config or {})
        faults = Faults()
        faults.attempt(refuse_other_keys, where, given, [field.name for field in fields(cls)])
        for name, value in given.items():
            if name in ('fold_bn', 'inplace', 'channels_last', 'stop_early', 'inference_mode', 'shard'):
                faults.attempt(require_choice, f'{where}.{name}', value, (True, False))
        faults.attempt(require_choice, f'{where}.mode', given.get('mode', 'auto'), MODES)
        faults.attempt(require_choice, f'{where}.dtype', given.get('dtype'), (None, *DTYPES))
        if not isinstance(given.get('compile', False), (bool, Mapping)):
            advice = 'write compile=True, or a dict of options of torch.compile'
            faults.append(Fault(f'{where}.compile', 'True, False or a dict', repr(given['compile']), advice))
        if given.get('shard') is True and (given.get('compile') or given.get('inference_mode')):
            got = 'compile' if given.get('compile') else 'inference_mode'
            faults.append(Fault(f'{where}.shard', 'a teacher that runs as it is built', got, f'remove {got}'))
        if faults:
            raise UserError(*faults)
        return cls(**given)

    def autocast_dtype(self, device: str) -> torch.dtype | None:
        """Of the teacher's forward on a device, as things stand; None for no autocast.

        Args:
            device: Type of the device, ``'cpu'`` or ``'cuda'``.
        """
        if self.dtype is None:
            return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        return None if self.dtype == 'fp32' else DTYPES[self.dtype]
