"""From two models, a method and a data set to everything that the config will say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.registry import DefaultScope

from kd_plugins.build import FALLBACK_SCOPE, read_library_config
from kd_plugins.errors import Fault, UserError
from kd_plugins.preflight.modules import ModuleRow
from kd_plugins.preflight.probe import probe_batch
from kd_plugins.scaffold.data import DATASETS, Dataset, own_data
from kd_plugins.scaffold.libraries import LIBRARIES
from kd_plugins.scaffold.method import METHODS, Method
from kd_plugins.scaffold.models import Model, find_model, trace, wants_size
from kd_plugins.scaffold.normalisation import Normalisation, settle_normalisation
from kd_plugins.scaffold.stages import (
    Source,
    Stage,
    find_class_maps,
    find_levels,
    find_logits,
    find_stages,
    pair_stages,
)


@dataclass(frozen=True)
class Request:
    """What a config is asked for.

    Attributes:
        method: Key in :data:`kd_plugins.scaffold.method.METHODS`.
        teacher: Name of a config of the library that the method is for.
        student: Likewise.
        out: File that the config is for.
        configs: Folder of the configs of this repository, which the new one names relative to itself; None to name
            them as ``kd_plugins::…``, those of the installed package.
        dataset: Key in :data:`kd_plugins.scaffold.data.DATASETS`; empty for ImageNet, with detectors and segmentors
            for what the student's own config trains on.
        teacher_ckpt: Path or address of the teacher's weights; None for those that the library lists.
    """

    method: str
    teacher: str
    student: str
    out: Path
    configs: Path | None
    dataset: str = ''
    teacher_ckpt: str | None = None


@dataclass(frozen=True)
class Plan:
    """What a config will say.

    Attributes:
        request: What was asked for.
        student: The student.
        teacher: The teacher.
        dataset: The data set.
        size: Height and width of the images, in pixels.
        pairs: Stages whose features are compared, the student's first.
        logits: Class scores that are compared, the student's first; None for none.
    """

    request: Request
    student: Model
    teacher: Model
    dataset: Dataset
    size: tuple[int, int]
    pairs: Sequence[tuple[Stage, Stage]]
    logits: tuple[Source, Source] | None

    @property
    def method(self) -> Method:
        """The method."""
        return METHODS[self.request.method]

    @property
    def own_recipe(self) -> bool:
        """Whether the student's own config trains on these data."""
        return self.student.trains_on(self.dataset.kind)

    @property
    def pretrained(self) -> bool:
        """Whether the weights that the library lists for the teacher were trained on these data and shall be used."""
        return bool(self.teacher.weights) and self.teacher_knows_data and not self.request.teacher_ckpt

    @property
    def teacher_knows_data(self) -> bool:
        """Whether the teacher's own config trains on these data."""
        return self.teacher.trains_on(self.dataset.kind) and not self.changes(self.teacher)

    @cached_property
    def normalisation(self) -> Normalisation:
        """What the config says of the normalisation of images, for a trained teacher."""
        if not self.teacher_knows_data or not (self.pretrained or self.request.teacher_ckpt):
            return Normalisation()
        inherited = self.student.whole if self.own_recipe else read_library_config(self.dataset.bases[0])
        return settle_normalisation(inherited, self.student, self.teacher)

    def changes(self, model: Model) -> dict[str, Any]:
        """What in a model's config has to change for these data."""
        return _changes(self.dataset, model)


def make_plan(request: Request) -> Plan:
    """Find both models, run each once, and choose what is compared.

    Args:
        request: What is asked for.

    Raises:
        UserError: A model is not there, cannot be run on such images, or has nothing that the method compares.
    """
    method = METHODS[request.method]
    student = find_model(request.student, '--student', method.library)
    models = student, find_model(request.teacher, '--teacher', method.library)
    dataset = _dataset(request, student)
    size, rows = _trace(dataset, models)
    pairs = _pair(models, rows, size) if method.hint else []
    scores = _find_scores(models, rows, dataset.classes, required=not pairs) if method.scores else None
    return Plan(request, *models, dataset, size, pairs, scores)


def _dataset(request: Request, student: Model) -> Dataset:
    if student.library is LIBRARIES['mmpretrain']:
        return DATASETS[request.dataset or 'imagenet']
    if request.dataset:
        got = f'{request.dataset}, with {student.path}'
        raise UserError(Fault('--dataset', 'images of classes with models of mmpretrain alone', got, 'leave it out'))
    return own_data(student.whole)


def _changes(dataset: Dataset, model: Model) -> dict[str, Any]:
    if dataset.classes is None:
        return {}
    return model.changes(dataset.classes, topk=dataset is DATASETS['digits'])


def _trace(dataset: Dataset, models: tuple[Model, Model]) -> tuple[tuple[int, int], list[list[ModuleRow]]]:
    """The first size of images that both models take, and the modules of each at that size."""
    *sizes, last = _sizes(dataset, models)
    for size in sizes:
        try:
            return size, [trace(model, _changes(dataset, model), size) for model in models]
        except UserError:
            continue
    return last, [trace(model, _changes(dataset, model), last) for model in models]


def _sizes(dataset: Dataset, models: tuple[Model, Model]) -> list[tuple[int, int]]:
    student = models[0]
    if dataset.classes is not None and student.trains_on(dataset.kind):
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
    pyramids = models[0].library is LIBRARIES['mmdet']
    find = find_levels if pyramids else find_stages
    student, teacher = (find(found, size) for found in rows)
    for stages, model in zip((student, teacher), models, strict=True):
        if not stages:
            expected = 'a backbone whose modules return maps (N, C, H, W) or tokens (N, L, C)'
            advice = 'use --method kd, or write the config by hand'
            if pyramids:
                expected, advice = 'a neck that returns maps (N, C, H, W)', 'choose another model'
            raise UserError(Fault(model.where, expected, model.path, advice))
    return pair_stages(student, teacher, most=len(student)) if pyramids else pair_stages(student, teacher)


def _find_scores(
    models: tuple[Model, Model], rows: Sequence[Sequence[ModuleRow]], classes: int | None, required: bool
) -> tuple[Source, Source] | None:
    student, teacher = (find_class_maps(found) if classes is None else find_logits(found, classes) for found in rows)
    if student and teacher:
        if student.shape[1] != teacher.shape[1]:
            expected, got = (f'{maps.shape[1]} classes' for maps in (student, teacher))
            advice = 'choose a teacher that tells the same classes apart'
            raise UserError(Fault(models[1].where, f"the student's {expected}", f'{models[1].path}, of {got}', advice))
        return student, teacher
    if required:
        model = models[0] if student is None else models[1]
        expected = f'a head with a module that returns {classes} class scores'
        if classes is None:
            expected = 'a decode_head with a layer conv_seg, which gives the class maps'
        raise UserError(Fault(model.where, expected, model.path, 'choose another model'))
    return None
