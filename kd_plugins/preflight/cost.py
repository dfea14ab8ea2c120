"""What a training step costs, counted while one runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from kd_plugins.algorithms import DataFreeDistillation, DistillAlgorithm, Forward
from kd_plugins.distiller import ConfigurableDistiller
from kd_plugins.preflight.findings import StepCost
from kd_plugins.preflight.flops import flop_counter
from kd_plugins.recorders.tensors import tensors_of

T = TypeVar('T')


class StepCounter:
    """Counts the floating-point operations of a step as it is made: forwards, comparison, one backward.

    The backward is one for all. It is divided by the order in which autograd works: what was computed last comes first,
    so that losses and connectors are done when it reaches the first tensor that a model has made.

    Args:
        model: Whose step it is.
    """

    def __init__(self, model: DistillAlgorithm) -> None:
        self._model = model
        self._counts: Counter[str] = Counter()
        # what the forward of each side gave: its records and losses
        self._made: dict[str, list[torch.Tensor]] = {'student': [], 'teacher': []}

    def forward(self, forward: Forward, distiller: Any, inputs: Any, samples: Any) -> dict[str, Any]:
        """Run a forward as training does, and count it.

        Args:
            forward: It has run before, which has settled how it is run.
            distiller: Has the recorders.
            inputs: A batch.
            samples: Its annotations.

        Returns:
            Its losses by name.
        """
        side = 'student' if 'student' in forward.sides else 'teacher'
        with self._counted(side):
            losses = forward.run(inputs, samples)
        made = tensors_of(losses)
        if isinstance(distiller, ConfigurableDistiller):
            recorders = {'student': distiller.student_recorders, 'teacher': distiller.teacher_recorders}
            for name in forward.sides:
                made += [tensor for part in recorders[name].parts() for tensor in part.tensors()]
        self._made[side] += made
        return losses

    @contextmanager
    def comparing(self) -> Iterator[None]:
        """Inside, records pass their connectors into their losses."""
        with self._counted('losses'):
            yield

    def whole(self, run: Callable[[], T]) -> T:
        """Count a step of a user's own class, which is more than its forwards and losses; the rest is the student's."""
        known = self._counts['teacher'] + self._counts['losses']
        with self._counted('whole'):
            result = run()
        self._counts['student'] = max(self._counts.pop('whole') - known, 0)
        self._made = {}
        return result

    def backward(self, run: Callable[[], None]) -> None:
        """Count the backward.

        Args:
            run: Runs it.
        """
        own_step = not self._made
        reached: dict[str, list[int]] = {'student': [], 'teacher': []}
        with flop_counter() as counter:
            for side, tensors in self._made.items():
                for node in {tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None}:
                    node.register_prehook(lambda _, side=side: reached[side].append(int(counter.get_total_flops())))
            run()
            total = int(counter.get_total_flops())
        # the teacher runs before the student, and is reached after it
        teacher = min(reached['teacher'], default=total)
        student = 0 if own_step else min(reached['student'], default=teacher)
        self._counts.update(losses=student, student=teacher - student, teacher=total - teacher)

    def cost(self, images: int) -> StepCost | None:
        """What was counted, for one image; None for models whose step is another than one backward.

        Args:
            images: How many the batch had.
        """
        if isinstance(self._model, DataFreeDistillation):
            return None
        return StepCost(*(self._counts[name] / images for name in ('teacher', 'student', 'losses')))

    @contextmanager
    def _counted(self, name: str) -> Iterator[None]:
        with flop_counter() as counter:
            yield
        self._counts[name] += int(counter.get_total_flops())
