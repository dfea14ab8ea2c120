"""What a hand-written loop has to compute for the losses of a config."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from torch import nn

from kd_plugins.algorithms import SingleTeacherDistill
from kd_plugins.benchmark.arm import LeftOut
from kd_plugins.connectors import ConvModuleConnector
from kd_plugins.distiller import ConfigurableDistiller, LossSpec, RecordSpec
from kd_plugins.losses import KLDivergence, L2Loss
from kd_plugins.recorders import ModuleOutputs


@dataclass(frozen=True)
class LogitTerm:
    """A Kullback-Leibler divergence of what two modules return.

    Attributes:
        student: Path of the student's module.
        teacher: Path of the teacher's module.
        tau: Temperature.
        reduction: ``'batchmean'``, ``'mean'`` or ``'sum'``.
        weight: Of the loss.
    """

    student: str
    teacher: str
    tau: float
    reduction: str
    weight: float


@dataclass(frozen=True)
class HintTerm:
    """A squared L2 distance of two feature maps, each sample's scaled to length 1, per sample.

    Attributes:
        student: Path of the student's module.
        teacher: Path of the teacher's module.
        regressor: From the student's channels to the teacher's; a copy, with the weights that ours starts from.
        weight: Of the loss.
    """

    student: str
    teacher: str
    regressor: nn.Module
    weight: float


@dataclass(frozen=True)
class Recipe:
    """The distill losses of a config, beside the student's cross entropy.

    Attributes:
        logits: At least one.
        hints: Any number.
    """

    logits: tuple[LogitTerm, ...]
    hints: tuple[HintTerm, ...] = ()


def read_recipe(algorithm: Any) -> Recipe:
    """Read from a distiller what a hand-written loop has to compute.

    Args:
        algorithm: Ours. Each call gives regressors of their own.

    Raises:
        LeftOut: Nobody has written that loop: other losses than KL at the logits and normalised L2 at features, other
            sources than outputs of modules that run once, a student with another loss than cross entropy, …
    """
    distiller = getattr(algorithm, 'distiller', None)
    if type(algorithm) is not SingleTeacherDistill or algorithm.teacher_trainable:
        raise LeftOut('the loop is written for one frozen teacher')
    if not algorithm.student_trainable or not algorithm.calculate_student_loss:
        raise LeftOut('the loop is written for a student that learns from its own loss too')
    if type(distiller) is not ConfigurableDistiller or distiller.deliveries.deliveries:
        raise LeftOut('the loop is written for a ConfigurableDistiller without deliveries')
    _check_task_loss(algorithm)
    logits, hints = [], []
    for mapping in distiller.spec.mappings:
        loss = distiller.distill_losses[mapping.name]
        if type(loss) is KLDivergence and loss.teacher_detach and loss.reduction != 'none':
            sources = _sources(distiller, mapping, ('preds_S', 'preds_T'))
            if any(record.connector for record in mapping.arguments.values()):
                raise LeftOut(f'{mapping.name}: the loop is written for logits without connectors')
            logits.append(LogitTerm(*sources, loss.tau, loss.reduction, loss.loss_weight))
        elif type(loss) is L2Loss and (loss.normalize, loss.mult, loss.div_element, loss.dist) == (
            True,
            1,
            False,
            False,
        ):
            sources = _sources(distiller, mapping, ('s_feature', 't_feature'))
            hints.append(HintTerm(*sources, _regressor(distiller, mapping), loss.loss_weight))
        else:
            raise LeftOut(
                f'{mapping.name}: the loop is written for KLDivergence and normalised L2Loss, not for this '
                f'{type(loss).__name__}'
            )
    if not logits:
        raise LeftOut('the loop is written for losses at the logits, alone or with hints')
    return Recipe(tuple(logits), tuple(hints))


def _check_task_loss(algorithm: Any) -> None:
    """The student's loss is the mean cross entropy of its logits, and its batch is not mixed."""
    head = getattr(algorithm.student, 'head', None)
    loss = getattr(head, 'loss_module', None)
    plain = dict(use_sigmoid=False, use_soft=False, reduction='mean', loss_weight=1.0, class_weight=None)
    if type(loss).__name__ != 'CrossEntropyLoss' or any(getattr(loss, key, None) != plain[key] for key in plain):
        raise LeftOut("the loop is written for a student's head with plain cross entropy")
    preprocessor = algorithm.data_preprocessor
    if getattr(preprocessor, 'batch_augments', None) or getattr(preprocessor, 'to_onehot', False):
        raise LeftOut('the loop is written for a batch that is not mixed')
    if getattr(preprocessor, 'pad_size_divisor', 1) != 1:
        raise LeftOut('the loop is written for images that are not padded')


def _sources(distiller: Any, mapping: LossSpec, arguments: tuple[str, str]) -> tuple[str, str]:
    """Paths of the modules whose outputs a loss compares, the student's first."""
    student, teacher = (mapping.arguments[argument] for argument in arguments)
    if not student.from_student or teacher.from_student:
        raise LeftOut(f'{mapping.name}: the loop is written for a student against a teacher')
    return _source(distiller.student_recorders, student), _source(distiller.teacher_recorders, teacher)


def _source(recorders: Any, record: RecordSpec) -> str:
    recorder = recorders.recorders[record.recorder]
    if type(recorder) is not ModuleOutputs or (record.record_idx, record.data_idx) != (None, None):
        raise LeftOut(f'{record.where}: the loop is written for what a module returns that runs once')
    return recorder.source


def _regressor(distiller: Any, mapping: LossSpec) -> nn.Module:
    student, teacher = mapping.arguments['s_feature'], mapping.arguments['t_feature']
    if teacher.connector or student.connector_idx is not None:
        raise LeftOut(f'{mapping.name}: the loop is written for a connector on the side of the student')
    if student.connector is None:
        return nn.Identity()
    connector = distiller.connectors[student.connector]
    layers: Any = getattr(connector, 'conv_module', None)
    if type(connector) is not ConvModuleConnector or not layers.with_norm or not layers.with_activation:
        raise LeftOut(f'{mapping.name}: the loop is written for convolution, norm and activation as a connector')
    return copy.deepcopy(nn.Sequential(layers.conv, layers.norm, layers.activate))
