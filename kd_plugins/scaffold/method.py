"""The methods that a new config can use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kd_plugins.scaffold.data import DATASETS, Dataset
from kd_plugins.scaffold.libraries import LIBRARIES, Library
from kd_plugins.scaffold.stages import Source, Stage


@dataclass(frozen=True)
class Method:
    """A way to distil.

    Attributes:
        title: For people.
        summary: One line for ``--help``.
        library: Whose models it is for.
        hint: The loss that compares features; None where the method compares none.
        scores: Name and loss that compare class scores or class maps; None where it compares none.
        weights: Where temperature and weights of its losses come from, where the data do not decide.
    """

    title: str
    summary: str
    library: Library
    hint: Mapping[str, Any] | None = None
    scores: tuple[str, Mapping[str, Any]] | None = None
    weights: str = ''


LOGIT_LOSS = ('loss_kl', dict(type='kd_plugins.KLDivergence'))

METHODS = {
    'kd': Method(
        title='Logit KD',
        summary='softened class scores alone, KLDivergence; https://arxiv.org/abs/1503.02531',
        library=LIBRARIES['mmpretrain'],
        scores=LOGIT_LOSS,
    ),
    'fitnets': Method(
        title='FitNets hints and logit KD',
        summary='features of stages of one resolution, L2Loss, and kd; https://arxiv.org/abs/1412.6550',
        library=LIBRARIES['mmpretrain'],
        # as MMRazor's FitNets config has it, for features scaled to length 1
        hint=dict(type='kd_plugins.L2Loss', loss_weight=10),
        scores=LOGIT_LOSS,
    ),
    'pkd': Method(
        title='PKD of the feature pyramid',
        summary='levels of one resolution of two feature pyramids, PKDLoss; https://arxiv.org/abs/2207.02039',
        library=LIBRARIES['mmdet'],
        hint=dict(type='kd_plugins.PKDLoss', loss_weight=6),
        weights="loss_weight is that of most of MMRazor's PKD configs; between two RetinaNets they have 10",
    ),
    'cwd': Method(
        title='CWD of the class maps',
        summary='the map of each class, ChannelWiseDivergence; https://arxiv.org/abs/2011.13256',
        library=LIBRARIES['mmseg'],
        scores=('loss_cwd', dict(type='kd_plugins.ChannelWiseDivergence', tau=1, loss_weight=5)),
        weights="tau and loss_weight are those of MMRazor's CWD on Cityscapes",
    ),
}


def losses_of(
    method: Method, pairs: Sequence[tuple[Stage, Stage]], scores: tuple[Source, Source] | None, dataset: Dataset
) -> dict[str, dict[str, Any]]:
    """The distill losses in the short form.

    Args:
        method: One of :data:`METHODS`.
        pairs: Stages whose features are compared, the student's first.
        scores: Class scores or class maps that are compared, the student's first; None for none.
        dataset: The images to train on.
    """
    losses: dict[str, dict[str, Any]] = {}
    for student, teacher in pairs:
        losses[f'loss_stride{student.stride}'] = dict(
            **(method.hint or {}), student=student.source.config, teacher=teacher.source.config
        )
        # without COCO at hand, 'auto' of a detector could not be worked out, and its levels mostly meet as they are
        if method.library.package == 'mmpretrain' or student.source.shape != teacher.source.shape:
            losses[f'loss_stride{student.stride}']['connector'] = 'auto'
    if method.scores and scores:
        name, loss = method.scores
        student_scores, teacher_scores = scores
        losses[name] = dict(
            **loss,
            **({} if method.weights else _softening(dataset)[0]),
            student=student_scores.config,
            teacher=teacher_scores.config,
        )
    return losses


def explain_weights(method: Method, dataset: Dataset) -> str:
    """Where temperature and weights of the losses come from.

    Args:
        method: One of :data:`METHODS`.
        dataset: The images to train on.
    """
    return method.weights or _softening(dataset)[1]


def _softening(dataset: Dataset) -> tuple[dict[str, float], str]:
    if dataset is DATASETS['imagenet']:
        return dict(tau=1, loss_weight=3), "tau and loss_weight are those of MMRazor's logit KD on ImageNet"
    return dict(tau=4, loss_weight=1), 'tau=4 is usual on small images (CRD, mdistiller); loss_weight is not tuned'
