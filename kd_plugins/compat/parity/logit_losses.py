"""Cases of the losses that compare predictions, and of those that measure one model's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

import torch

from kd_plugins.compat.parity.case import Case, MakeInputs

SHAPES = ((3, 5), (1, 10), (2, 4, 3, 3))
ROWS = ((3, 5), (1, 10), (8, 4))
ONLY_MMCLS = "mmrazor takes its cross entropy from mmcls, which today's stack does not have"
SUMS = "mmrazor passes size_average=False to torch, which makes a sum of the reductions 'mean' and 'none'"
LEAKS = 'mmrazor masks the true class by subtracting 1000, which a larger logit survives, and its log(0) is infinite'
EXPLODES = "mmrazor divides by 1e-8 where a side's probabilities are all the same: a gradient of 1e8"
NAN = 'mmrazor computes 0 * log10(0), which is NaN, for a class that no sample may have'


def pair(shape: tuple[int, ...], scale: float = 2.0) -> MakeInputs:
    """Maker of two random tensors of one shape."""

    def make(dtype: torch.dtype) -> tuple[Any, ...]:
        return tuple((torch.randn(2, *shape, dtype=torch.float64) * scale).to(dtype))

    return make


def labelled_pair(shape: tuple[int, int], scale: float = 2.0) -> MakeInputs:
    """Maker of two random predictions (N, C) and random labels (N)."""

    def make(dtype: torch.dtype) -> tuple[Any, ...]:
        return *pair(shape, scale)(dtype), torch.randint(shape[1], shape[:1])

    return make


def single(shape: tuple[int, ...], scale: float = 2.0) -> MakeInputs:
    """Maker of one random tensor."""

    def make(dtype: torch.dtype) -> tuple[Any, ...]:
        return ((torch.randn(shape, dtype=torch.float64) * scale).to(dtype),)

    return make


def _weighted_pair(dtype: torch.dtype) -> tuple[Any, ...]:
    return *pair((3, 5))(dtype), torch.tensor([1, 0, 2.5], dtype=dtype)


def _constant_student(dtype: torch.dtype) -> tuple[Any, ...]:
    return torch.zeros(3, 5, dtype=dtype), torch.randn(3, 5, dtype=dtype)


def _huge_true_class(dtype: torch.dtype) -> tuple[Any, ...]:
    student, teacher, labels = labelled_pair((3, 5))(dtype)
    rows = torch.arange(3)
    student[rows, labels], teacher[rows, labels] = 2000, 1500
    return student, teacher, labels


def _impossible_class(dtype: torch.dtype) -> tuple[Any, ...]:
    logits = torch.randn(3, 5, dtype=dtype)
    logits[:, 2] = -1000
    return (logits,)


def _soft_cross_entropy_of_rows(
    student: torch.Tensor,
    teacher: torch.Tensor,
    weight: torch.Tensor | None = None,
    tau: float = 1,
    reduction: str = 'mean',
    mult_tem_square: bool = True,
    loss_weight: float = 1,
) -> torch.Tensor:
    """Slow loop of KDSoftCELoss: -p_T log p_S, one sample at a time."""
    losses = []
    for n, (s_row, t_row) in enumerate(zip(student, teacher, strict=True)):
        loss = -_probabilities(t_row, tau) @ _probabilities(s_row, tau).log()
        losses.append(loss if weight is None else loss * weight[n])
    factor = loss_weight * (tau**2 if mult_tem_square else 1)
    return factor * _reduce(torch.stack(losses), reduction)


def _decoupled_rows(
    student: torch.Tensor,
    teacher: torch.Tensor,
    labels: torch.Tensor,
    tau: float = 1,
    alpha: float = 1,
    beta: float = 1,
    reduction: str = 'batchmean',
) -> torch.Tensor:
    """Slow loop of DKDLoss: both divergences, one sample at a time."""
    losses = []
    for s_row, t_row, label in zip(student / tau, teacher / tau, labels.tolist(), strict=True):
        s_others, t_others = (torch.cat([row[:label], row[label + 1 :]]) for row in (s_row, t_row))
        s_binary = torch.stack([s_row[label], s_others.logsumexp(0)])
        t_binary = torch.stack([t_row[label], t_others.logsumexp(0)])
        losses.append(tau**2 * (alpha * _divergence(s_binary, t_binary) + beta * _divergence(s_others, t_others)))
    return _reduce(torch.stack(losses), reduction)


def _divergence(s_logits: torch.Tensor, t_logits: torch.Tensor) -> torch.Tensor:
    s_log, t_log = s_logits - s_logits.logsumexp(0), t_logits - t_logits.logsumexp(0)
    return t_log.exp() @ (t_log - s_log)


def _without_correlation(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """DISTLoss of a student that is the same everywhere: 1 - 0 for both relations, without gradient."""
    return 2 + 0 * student.sum()


def _entropy(logits: torch.Tensor) -> torch.Tensor:
    """Slow loop of InformationEntropyLoss, where a class of probability 0 adds nothing."""
    mean = torch.stack([_probabilities(row, 1) for row in logits]).mean(0)
    return torch.stack([p * p.log10() for p in mean if p > 0]).sum()


def _probabilities(row: torch.Tensor, tau: float) -> torch.Tensor:
    weights = ((row - row.max().detach()) / tau).exp()
    return weights / weights.sum()


def _reduce(losses: torch.Tensor, reduction: str) -> torch.Tensor:
    if reduction == 'none':
        return losses
    return losses.sum() if reduction == 'sum' else losses.mean()


def _kl_divergence() -> Iterator[Case]:
    for shape, tau, reduction, weight, detach in product(
        SHAPES, (1, 6), ('none', 'batchmean', 'sum', 'mean'), (1, 10), (True, False)
    ):
        options = dict(tau=tau, reduction=reduction, loss_weight=weight, teacher_detach=detach)
        yield Case('KLDivergence', pair(shape), options, label=str(shape))


def _soft_cross_entropy() -> Iterator[Case]:
    for shape, tau, reduction, square, weight in product(ROWS, (1, 4), ('none', 'sum', 'mean'), (True, False), (1, 10)):
        options: dict[str, Any] = dict(tau=tau, reduction=reduction, mult_tem_square=square, loss_weight=weight)
        oracle = partial(_soft_cross_entropy_of_rows, **options)
        yield Case('KDSoftCELoss', pair(shape), options, label=str(shape), oracle=oracle, why=ONLY_MMCLS)
    yield Case(
        'KDSoftCELoss', _weighted_pair, label='weighted samples', oracle=_soft_cross_entropy_of_rows, why=ONLY_MMCLS
    )


def _cross_entropy() -> Iterator[Case]:
    for shape, weight in product(SHAPES, (1, 0.5)):
        yield Case('CrossEntropyLoss', pair(shape), dict(loss_weight=weight), label=str(shape))


def _dist() -> Iterator[Case]:
    for shape, tau, detach, (inter, intra) in product((*ROWS, (2, 4, 3, 3)), (1, 4), (True, False), ((1, 1), (2, 0.5))):
        options = dict(inter_loss_weight=inter, intra_loss_weight=intra, tau=tau, loss_weight=2, teacher_detach=detach)
        yield Case('DISTLoss', pair(shape), options, label=str(shape))
    constant = 'constant student'
    yield Case('DISTLoss', _constant_student, label=constant, why=EXPLODES, differs=True)
    yield Case('DISTLoss', _constant_student, label=constant, oracle=_without_correlation, why=EXPLODES)


def _decoupled() -> Iterator[Case]:
    for shape, tau, (alpha, beta), reduction, weight in product(
        ROWS, (1, 4), ((1, 1), (0.5, 8)), ('batchmean', 'sum'), (1, 3)
    ):
        weights = dict(alpha=alpha, beta=beta, loss_weight=weight)
        options: dict[str, Any] = dict(tau=tau, reduction=reduction, **weights)
        # mmrazor's gradient of the teacher is NaN, for the masked class
        yield Case('DKDLoss', labelled_pair(shape), options, label=str(shape), constant=(1,))
    for reduction, (alpha, beta) in product(('mean', 'none'), ((1, 1), (0.5, 8))):
        options = dict(tau=4, alpha=alpha, beta=beta, reduction=reduction)
        yield Case('DKDLoss', labelled_pair((3, 5)), options, oracle=partial(_decoupled_rows, **options), why=SUMS)
    yield Case('DKDLoss', labelled_pair((3, 5)), dict(reduction='mean'), why=SUMS, differs=True)
    # not measured against mmrazor as well: a distance to NaN is no number
    yield Case('DKDLoss', _huge_true_class, label='huge true class', oracle=_decoupled_rows, why=LEAKS)


def _weighted_soft_labels() -> Iterator[Case]:
    for shape, tau, weight in product(ROWS, (1, 2), (1, 2.5)):
        options = dict(tau=tau, loss_weight=weight, num_classes=shape[1])
        yield Case('WSLD', labelled_pair(shape), options, label=str(shape))


def _data_free() -> Iterator[Case]:
    for shape, weight in product(ROWS, (1, 5)):
        yield Case('OnehotLikeLoss', single(shape), dict(loss_weight=weight), label=str(shape))
    for shape, weight, gather in product(ROWS, (1, 5), (True, False)):
        yield Case('InformationEntropyLoss', single(shape), dict(loss_weight=weight, gather=gather), label=str(shape))
    maps = (*SHAPES, (2, 3, 1, 1))
    for feature, factor, norm_type in product(maps, (1, 0.01), ('abs', 'norm')):
        yield Case('ActivationLoss', single(feature), dict(loss_weight=factor, norm_type=norm_type), label=str(feature))
    yield Case('InformationEntropyLoss', _impossible_class, label='impossible class', oracle=_entropy, why=NAN)


LOGIT_LOSSES = [
    *_kl_divergence(),
    *_soft_cross_entropy(),
    *_cross_entropy(),
    *_dist(),
    *_decoupled(),
    *_weighted_soft_labels(),
    *_data_free(),
]
