"""Recorder of the gradient of a loss with respect to what a module returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from kd_plugins.errors import Fault, UserError
from kd_plugins.recorders.checkpointed import WITHOUT_REENTRANT
from kd_plugins.recorders.module_outputs import ModuleOutputs
from kd_plugins.recorders.tensors import map_tensors, tensors_of
from kd_plugins.registry import TASK_UTILS

# the gradient of a mean over a batch vanishes in float16: the loss is multiplied by this, and the gradient divided
_SCALE = 1024.0


@TASK_UTILS.register_module(name=['ModuleOutputGrads', 'ModuleOutputGradsRecorder'])
class ModuleOutputGrads(ModuleOutputs):
    r"""Records :math:`\partial L / \partial y` for the output :math:`y` of a module, once for each time it is called.

    :math:`L` is the task loss of the model itself, never a distill loss: a distill loss is made of such records. While
    entered, the recorder keeps the outputs; between the forward and ``pop``, the algorithm has it take the gradient
    (``RecorderSet.take_gradients``). A record has the shapes of the output, be it a tensor or a tuple, list or dict of
    tensors, with None for a tensor of whole numbers. The gradient of a float16 output is in float32, from
    1e-10 to 64.

    The model has to run with gradient enabled. Its weights may be frozen: the graph begins at the output then, and the
    layers before it keep nothing for a backward.

    Gradient flow: from the record into the model's weights (a second derivative) where the gradient was taken with
    ``create_graph=True``, which is for a model that learns; otherwise nowhere.

    Args:
        source: Path of the module, as for :class:`ModuleOutputs`.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 1)).requires_grad_(False)
        >>> recorder = ModuleOutputGrads('0')
        >>> recorder.attach(model)
        >>> with recorder:
        ...     loss = model(torch.rand(3, 4)).sum()
        >>> recorder.receive(torch.autograd.grad(loss, recorder.outputs))
        >>> torch.equal(recorder.pop()[0], model[1].weight.expand(3, 2))
        True
    """

    def __init__(self, source: str) -> None:
        super().__init__(source)
        # until the gradients are there, the records are the outputs
        self._waiting = False

    @property
    def outputs(self) -> list[torch.Tensor]:
        """The outputs of the last forward whose gradient is wanted."""
        return [tensor for tensor in tensors_of(self._records) if tensor.requires_grad] if self._waiting else []

    def receive(self, gradients: Sequence[torch.Tensor | None]) -> None:
        """Take the gradients of all :attr:`outputs`, which it lets go of.

        Args:
            gradients: In the order of ``outputs``; None where the loss does not depend on an output.

        Raises:
            UserError: The loss does not depend on an output at all, or it was computed without gradient.
        """
        kept, recomputed = self._records, self._recomputed
        self._forget()
        expected = 'a module whose output goes into the loss of its model'
        true = [output for call, output in enumerate(kept) if call not in recomputed]
        if any(tensor.is_floating_point() and not tensor.requires_grad for tensor in tensors_of(true)):
            got = f'{self.source!r}, which ran under torch.no_grad'
            raise UserError(Fault('source', expected, got, 'choose another module, or run the model with gradient'))
        if any(gradient is None for gradient in gradients):
            got = f'{self.source!r}, on which the loss does not depend'
            raise UserError(Fault('source', expected, got, 'choose another module'))
        remaining = iter(gradients)
        self._records = map_tensors(kept, lambda tensor: next(remaining) if tensor.requires_grad else None)
        self._recomputed = recomputed

    def pop(self) -> list[Any]:
        """Return the gradients of the last step, one per call of the source, and forget them.

        Raises:
            UserError: They were not taken.
        """
        if self._waiting:
            self._forget()
            got = f'{self.source!r}, whose gradient was not taken'
            advice = 'use an algorithm that calls take_gradients of the recorders after the forward of their model'
            raise UserError(Fault('source', 'the gradient of a loss', got, advice))
        return super().pop()

    def _record(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        if not self.recording:
            return None
        if not any(tensor.is_floating_point() for tensor in tensors_of(output)):
            expected = 'a module that returns a tensor, or a tuple, list or dict of tensors'
            got = f'{self.source!r}, which returns a {type(output).__name__}'
            raise UserError(Fault('source', expected, got, 'choose another module'))
        tapped = map_tensors(output, _tap)
        self._keep(tapped)
        self._waiting = True
        # what comes next may work in place, and the gradient of the output is not that of what it becomes
        return map_tensors(tapped, lambda tensor: tensor.clone() if tensor.requires_grad else tensor)

    def _forget(self) -> None:
        super()._forget()
        self._waiting = False


def take_gradients(total: torch.Tensor, outputs: Sequence[torch.Tensor], create_graph: bool) -> list[Any]:
    """Gradients of a loss with respect to outputs, in one backward that touches no weight's ``grad``.

    Args:
        total: The loss, a scalar.
        outputs: Tensors of its graph.
        create_graph: Make the gradients differentiable, and keep the graph.

    Returns:
        For each output a tensor of its shape, or None where the loss does not depend on it.

    Raises:
        UserError: A reentrant gradient checkpoint lies between them.
    """
    if not outputs or not total.requires_grad:
        return [None] * len(outputs)
    scale = _SCALE if any(output.dtype == torch.float16 for output in outputs) else 1.0
    try:
        # a backward is not run under autocast
        with torch.autocast(total.device.type, enabled=False):
            gradients = torch.autograd.grad(total * scale, outputs, create_graph=create_graph, allow_unused=True)
    except RuntimeError as error:
        if 'use_reentrant' not in str(error):
            raise
        expected = 'a module after which the model is not checkpointed'
        got, advice = 'one before a reentrant gradient checkpoint', f'choose a later one, or {WITHOUT_REENTRANT}'
        raise UserError(Fault('source', expected, got, advice)) from error
    if scale == 1:
        return list(gradients)
    return [gradient if gradient is None else gradient.float() / scale for gradient in gradients]


def _tap(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor itself where it has a graph, the beginning of one where it has none."""
    if tensor.requires_grad or not tensor.is_floating_point() or not torch.is_grad_enabled():
        return tensor
    return tensor.detach().requires_grad_()
