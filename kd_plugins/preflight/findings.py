"""What a preflight finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from kd_plugins.errors import Fault
from kd_plugins.preflight.shapes import Shape


@dataclass(frozen=True)
class SourceTrace:
    """What one argument of a loss got.

    Attributes:
        argument: Of the loss's ``forward``.
        side: ``'student'`` or ``'teacher'``.
        source: What is recorded.
        calls: How often it ran; None where it could not be recorded.
        shape: Of the record that was picked; None where there is none.
        connector: What it passes, ``''`` for nothing.
        connected: Shape after the connector; None where it could not pass.
    """

    argument: str
    side: str
    source: str
    calls: int | None = None
    shape: Shape | None = None
    connector: str = ''
    connected: Shape | None = None


@dataclass(frozen=True)
class LossTrace:
    """What one distill loss got and gave.

    Attributes:
        name: In the config and the log.
        kind: Class of the loss.
        weight: Its ``loss_weight``; None where it has none.
        effective_weight: What the weight amounts to where a mean over elements shrinks it.
        sources: Its arguments.
        value: The loss with untrained connectors and a made-up batch; None where it could not be computed.
    """

    name: str
    kind: str
    weight: float | None
    effective_weight: float | None
    sources: tuple[SourceTrace, ...]
    value: float | None


@dataclass(frozen=True)
class PartSummary:
    """One part of a model.

    Attributes:
        name: Of the child of the model; ``''`` for what the model holds itself.
        tensors: Number of tensors that it has in a ``state_dict``.
        loaded: How many of them got their values from a file, or came with a model that was given.
        files: Those files, as the config names them.
    """

    name: str
    tensors: int
    loaded: int
    files: tuple[str, ...]


@dataclass(frozen=True)
class ModelSummary:
    """One of the models.

    Attributes:
        role: ``'teacher'``, ``'student'`` or ``'connectors'``.
        name: What the config calls it.
        parameters: Number of its parameters.
        trainable: How many of them are trained.
        tensors: Number of tensors in its ``state_dict``.
        loaded: How many of them got their values from a file, or came with a model that was given.
        weights: Where they come from.
        parts: The same of each part of the model.
    """

    role: str
    name: str
    parameters: int
    trainable: int
    tensors: int
    loaded: int
    weights: str
    parts: tuple[PartSummary, ...] = ()


@dataclass(frozen=True)
class StepCost:
    """Floating-point operations of one training step for one image; a multiply-add is two.

    Counted are convolutions, matrix products and attention, forward and backward, in a step that was run.

    Attributes:
        teacher: Of the teacher's forward; of its backward too, where it is trained.
        student: Of the student's step.
        losses: Of connectors and losses.
    """

    teacher: float
    student: float
    losses: float


@dataclass
class Findings:
    """Everything that a preflight found.

    Attributes:
        faults: What keeps the config from running.
        warnings: What is allowed and may not be meant.
        stumbles: What kept a model from running, for which the batch may be to blame.
        losses: The distill losses, in the order of the config.
        models: Teacher, student and connectors.
        cost: Of one step; None where no step could be made, or a step is more than one backward.
        without_gradient: Parameters that are to be trained and get no gradient; None where no step could be made.
        chosen: Connectors that were worked out, by key path; None where none is needed.
        absent: Key paths of weights that were not there and not loaded.
        seconds: How long the preflight took.
        batch: Shape of the images of the batch that was sent through; None where none was.
    """

    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    stumbles: list[Fault] = field(default_factory=list)
    losses: list[LossTrace] = field(default_factory=list)
    models: list[ModelSummary] = field(default_factory=list)
    cost: StepCost | None = None
    without_gradient: list[str] | None = None
    chosen: dict[str, Any] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    seconds: float = 0.0
    batch: Shape | None = None

    def add_run(self, run: Findings) -> None:
        """Take over what one run on a batch found."""
        self.faults += run.faults
        self.warnings += run.warnings
        self.losses, self.cost, self.batch = run.losses, run.cost, run.batch
        self.without_gradient, self.chosen = run.without_gradient, run.chosen

    def as_dict(self) -> dict[str, Any]:
        """The findings as plain values, for ``--json``."""
        return asdict(self)
