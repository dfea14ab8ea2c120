"""From two models, a method and a data set to everything that the config will say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.registry import DefaultScope

from kd_plugins.build import FALLBACK_SCOPE
from kd_plugins.errors import Fault, UserError
from kd_plugins.preflight.modules import ModuleRow
from kd_plugins.preflight.probe import probe_batch
from kd_plugins.scaffold.data import DATASETS, Dataset
from kd_plugins.scaffold.method import METHODS, Method
from kd_plugins.scaffold.models import Model, find_model, trace, wants_size
from kd_plugins.scaffold.stages import Source, Stage, find_logits, find_stages, pair_stages


@dataclass(frozen=True)
class Request:
    """What a config is asked for.

    Attributes:
        method: Key in :data:`kd_plugins.scaffold.method.METHODS`.
        teacher: Name of a config of mmpretrain.
        student: Likewise.
        out: File that the config is for.
        configs: Folder of the configs of this repository.
        dataset: Key in :data:`kd_plugins.scaffold.data.DATASETS`.
        teacher_ckpt: Path or address of the teacher's weights; None for those that mmpretrain lists.
    """

    method: str
    teacher: str
    student: str
    out: Path
    configs: Path
    dataset: str = 'imagenet'
    teacher_ckpt: str | None = None


@dataclass(frozen=True)
class Plan:
    """What a config will say.

    Attributes:
        request: What was asked for.
        student: The student.
        teacher: The teacher.
        size: Height and width of the images, in pixels.
        pairs: Stages whose features are compared, the student's first.
        logits: Class scores that are compared, the student's first; None for none.
    """

    request: Request
    student: Model
    teacher: Model
    size: tuple[int, int]
    pairs: Sequence[tuple[Stage, Stage]]
    logits: tuple[Source, Source] | None

    @property
    def method(self) -> Method:
        """The method."""
        return METHODS[self.request.method]

    @property
    def dataset(self) -> Dataset:
        """The data set."""
        return DATASETS[self.request.dataset]

    @property
    def own_recipe(self) -> bool:
        """Whether the student's own config trains on these data."""
        return self.student.trains_on(self.dataset.kind)

    @property
    def pretrained(self) -> bool:
        """Whether the weights that mmpretrain lists for the teacher were trained on these data and shall be used."""
        return bool(self.teacher.weights) and self.teacher_knows_data and not self.request.teacher_ckpt

    @property
    def teacher_knows_data(self) -> bool:
        """Whether the teacher's own config trains on these data."""
        return self.teacher.trains_on(self.dataset.kind) and not self.changes(self.teacher)

    def changes(self, model: Model) -> dict[str, Any]:
        """What in a model's config has to change for these data."""
        return _changes(self.request, model)


def make_plan(request: Request) -> Plan:
    """Find both models, run each once, and choose what is compared.

    Args:
        request: What is asked for.

    Raises:
        UserError: A model is not there, cannot be run on such images, or has nothing that the method compares.
    """
    models = find_model(request.student, '--student'), find_model(request.teacher, '--teacher')
    size, rows = _trace(request, models)
    pairs = _pair(models, rows, size) if METHODS[request.method].hints else []
    logits = _find_logits(models, rows, DATASETS[request.dataset].classes, required=not pairs)
    return Plan(request, *models, size, pairs, logits)


def _changes(request: Request, model: Model) -> dict[str, Any]:
    return model.changes(DATASETS[request.dataset].classes, topk=request.dataset == 'digits')


def _trace(request: Request, models: tuple[Model, Model]) -> tuple[tuple[int, int], list[list[ModuleRow]]]:
    """The first size of images that both models take, and the modules of each at that size."""
    *sizes, last = _sizes(DATASETS[request.dataset], models)
    for size in sizes:
        try:
            return size, [trace(model, _changes(request, model), size) for model in models]
        except UserError:
            continue
    return last, [trace(model, _changes(request, model), last) for model in models]


def _sizes(dataset: Dataset, models: tuple[Model, Model]) -> list[tuple[int, int]]:
    student = models[0]
    if student.trains_on(dataset.kind):
        with DefaultScope.overwrite_default_scope(FALLBACK_SCOPE):
            batch = probe_batch(student.whole)
        if batch is not None:
            height, width = batch['inputs'][0].shape[-2:]
            return [(height, width)]
    sides = dataset.sizes
    if len(sides) > 1 and any(map(wants_size, models)):
        sides = sides[-1:]
    return [(side, side) for side in sides]


def _pair(
    models: tuple[Model, Model], rows: Sequence[Sequence[ModuleRow]], size: tuple[int, int]
) -> list[tuple[Stage, Stage]]:
    student, teacher = (find_stages(found, size) for found in rows)
    for stages, model in zip((student, teacher), models, strict=True):
        if not stages:
            expected = 'a backbone whose modules return maps (N, C, H, W) or tokens (N, L, C)'
            advice = 'use --method kd, or write the config by hand'
            raise UserError(Fault(model.where, expected, model.path, advice))
    return pair_stages(student, teacher)


def _find_logits(
    models: tuple[Model, Model], rows: Sequence[Sequence[ModuleRow]], classes: int, required: bool
) -> tuple[Source, Source] | None:
    student, teacher = (find_logits(found, classes) for found in rows)
    if student and teacher:
        return student, teacher
    if required:
        model = models[0] if student is None else models[1]
        expected = f'a head with a module that returns {classes} class scores'
        raise UserError(Fault(model.where, expected, model.path, 'choose another model'))
    return None
