"""Recorder of what several teachers say together."""

from __future__ import annotations

import math
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from kd_plugins.arguments import require_positive, require_rank
from kd_plugins.errors import Fault, UserError
from kd_plugins.recorders.module_outputs import ModuleOutputs
from kd_plugins.recorders.recorder import Recorder
from kd_plugins.registry import TASK_UTILS


@TASK_UTILS.register_module()
class AveragedLogits(Recorder):
    r"""Records the logits whose softened probabilities are the mean of those of all teachers.

    With the weights :math:`w_k` of the teachers, which are scaled to the sum 1, and their logits :math:`z_k`:

    .. math:: z = \tau \log \sum_k w_k \, \mathrm{softmax}(z_k / \tau)

    so that a loss with the same temperature compares with the averaged probabilities. For ``MultiTeacherDistill``.

    Paper: Distilling the Knowledge in a Neural Network, section 3 (an ensemble of ten models),
    https://arxiv.org/abs/1503.02531

    Args:
        source: Path of the module that returns the logits, (N, C) or (N, C, H, W), the same in each teacher.
        tau: Temperature of the loss, above 0.

    Raises:
        UserError: ``tau`` is not above 0.
    """

    def __init__(self, source: str, tau: float = 1.0) -> None:
        super().__init__(source)
        require_positive('tau', tau, 'give the tau of the loss')
        self.tau = tau
        self._weights: dict[str, float] = {}
        self._parts: dict[str, ModuleOutputs] = {}
        self._entered: ExitStack | None = None

    def attach(self, model: nn.Module) -> None:
        """Hook the module ``source`` of every teacher.

        Raises:
            UserError: The model is no set of teachers, or one of them has no such module.
        """
        weights = getattr(model, 'weights', None)
        if not isinstance(weights, dict):
            got, advice = f'a {type(model).__name__}', 'use it as a teacher source of MultiTeacherDistill'
            raise UserError(Fault('type', 'a recorder of one model', f'AveragedLogits for {got}', advice))
        self.detach()
        self._weights = weights
        for name in weights:
            self._parts[name] = ModuleOutputs(f'{name}.{self.source}')
            self._parts[name].attach(model)

    def detach(self) -> None:
        """Remove the hooks."""
        for part in self._parts.values():
            part.detach()
        self._parts = {}

    def parts(self) -> tuple[Recorder, ...]:
        """The recorders of the teachers."""
        return tuple(self._parts.values())

    def pop(self) -> list[Any]:
        """The averaged logits of each call of the source, as often as every teacher calls it.

        Raises:
            UserError: The teachers call it unequally often, or their logits do not have one shape.
        """
        records = [part.pop() for part in self._parts.values()]
        calls = {name: len(found) for name, found in zip(self._parts, records, strict=True)}
        if len(set(calls.values())) > 1:
            got = ', '.join(f'{count} of {name}' for name, count in calls.items())
            raise UserError(Fault('source', 'as many calls in each teacher', got, 'average a module that runs once'))
        return [self._average(logits) for logits in zip(*records, strict=True)]

    def __enter__(self) -> Recorder:
        with ExitStack() as entered:
            for part in self._parts.values():
                entered.enter_context(part)
            self._entered = entered.pop_all()
        return super().__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(exc_type, exc_value, traceback)
        if self._entered is not None:
            self._entered.__exit__(exc_type, exc_value, traceback)
            self._entered = None

    def _average(self, logits: tuple[torch.Tensor, ...]) -> torch.Tensor:
        for part in logits:
            require_rank('source', part, (2, 4), 'logits (N, C) or (N, C, H, W)', 'choose the last layer of the heads')
        shapes = {name: tuple(part.shape) for name, part in zip(self._parts, logits, strict=True)}
        if len(set(shapes.values())) > 1:
            got = ', '.join(f'{shape} of {name}' for name, shape in shapes.items())
            raise UserError(Fault('source', 'logits of one shape', got, 'average teachers of the same classes'))
        total = sum(self._weights.values())
        shares = [math.log(self._weights[name] / total) for name in self._parts]
        softened = [F.log_softmax(_at_least_float32(part) / self.tau, dim=1) for part in logits]
        shared = [part + share for part, share in zip(softened, shares, strict=True)]
        return self.tau * torch.logsumexp(torch.stack(shared), dim=0)


def _at_least_float32(logits: torch.Tensor) -> torch.Tensor:
    """Under autocast, heads give half precision."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
