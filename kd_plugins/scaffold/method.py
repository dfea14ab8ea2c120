"""The methods that a new config can use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kd_plugins.scaffold.stages import Source, Stage

# as MMRazor's FitNets config has it, for features scaled to length 1
HINT_WEIGHT = 10


@dataclass(frozen=True)
class Method:
    """A way to distil.

    Attributes:
        title: For people.
        summary: One line for ``--help``.
        hints: Whether it compares features.
    """

    title: str
    summary: str
    hints: bool


METHODS = {
    'kd': Method(
        title='Logit KD',
        summary='softened class scores alone, KLDivergence; https://arxiv.org/abs/1503.02531',
        hints=False,
    ),
    'fitnets': Method(
        title='FitNets hints and logit KD',
        summary='features of stages of one resolution, L2Loss, and kd; https://arxiv.org/abs/1412.6550',
        hints=True,
    ),
}


def losses_of(
    pairs: Sequence[tuple[Stage, Stage]], logits: tuple[Source, Source] | None, dataset: str
) -> dict[str, dict[str, Any]]:
    """The distill losses in the short form.

    Args:
        pairs: Stages whose features are compared, the student's first.
        logits: Class scores that are compared, the student's first; None for none.
        dataset: Key in :data:`kd_plugins.scaffold.data.DATASETS`.
    """
    losses: dict[str, dict[str, Any]] = {}
    for student, teacher in pairs:
        losses[f'loss_stride{student.stride}'] = dict(
            type='kd_plugins.L2Loss',
            loss_weight=HINT_WEIGHT,
            student=student.source.config,
            teacher=teacher.source.config,
            connector='auto',
        )
    if logits:
        student_scores, teacher_scores = logits
        losses['loss_kl'] = dict(
            type='kd_plugins.KLDivergence',
            **_softening(dataset)[0],
            student=student_scores.config,
            teacher=teacher_scores.config,
        )
    return losses


def explain_softening(dataset: str) -> str:
    """Where temperature and weight of the logit loss come from."""
    return _softening(dataset)[1]


def _softening(dataset: str) -> tuple[dict[str, float], str]:
    if dataset == 'imagenet':
        return dict(tau=1, loss_weight=3), "tau and loss_weight are those of MMRazor's logit KD on ImageNet"
    return dict(tau=4, loss_weight=1), 'tau=4 is usual on small images (CRD, mdistiller); loss_weight is not tuned'
