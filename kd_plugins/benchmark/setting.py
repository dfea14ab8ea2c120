"""What a measurement is run with."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from kd_plugins.arguments import require_choice
from kd_plugins.errors import Fault, Faults, UserError

PRECISIONS = {'none': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
DEVICES = ('cpu', 'cuda')


@dataclass(frozen=True)
class Setting:
    """What a measurement is run with.

    Attributes:
        batch: Images a step.
        size: Height and width of the images, in pixels.
        device: ``'cpu'`` or ``'cuda'``.
        amp: ``'none'``, ``'bf16'`` or ``'fp16'``: precision of the arms that are not plain float32 loops.
        threads: Of the CPU; None for torch's own choice.
        rounds: Measured rounds.
        seed: Of the weights, the images and the order of the arms.

    Raises:
        UserError: With everything that cannot be measured.
    """

    batch: int = 16
    size: int = 224
    device: str = 'cpu'
    amp: str = 'none'
    threads: int | None = None
    rounds: int = 9
    seed: int = 0

    def __post_init__(self) -> None:
        faults = Faults()
        for option in ('batch', 'size', 'rounds'):
            value = getattr(self, option)
            if value < 1:
                faults.append(Fault(f'--{option}', 'a number above 0', str(value), 'leave it out for the default'))
        if self.threads is not None and self.threads < 1:
            faults.append(Fault('--threads', 'a number above 0', str(self.threads), "leave it out for torch's choice"))
        faults.attempt(require_choice, '--device', self.device, DEVICES)
        faults.attempt(require_choice, '--amp', self.amp, tuple(PRECISIONS))
        if self.device == 'cuda' and not torch.cuda.is_available():
            faults.append(Fault('--device', 'a GPU for cuda', 'a machine without', 'use --device cpu'))
        if faults:
            raise UserError(*faults)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the forwards."""
        return PRECISIONS[self.amp]

    def autocast(self) -> torch.autocast:
        """The context of a forward in that precision."""
        return torch.autocast(self.device, dtype=self.dtype, enabled=self.amp != 'none')

    def synchronize(self) -> None:
        """Wait for the GPU, where there is one."""
        if self.device == 'cuda':
            torch.cuda.synchronize()
