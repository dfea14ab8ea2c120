"""Cases of the losses that compare features."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F

from kd_plugins.compat.parity.case import Case, MakeInputs
from kd_plugins.compat.parity.logit_losses import pair

SHAPES = ((3, 5), (2, 4, 3, 3), (2, 3, 1, 1))
MAPS = ((2, 4, 3, 3), (3, 2, 4, 5), (2, 3, 1, 1))
VIDEO = (2, 3, 2, 3, 4)
ROWS = ((5, 3), (3, 4), (4, 3, 2, 2))
CRASHES = "mmrazor takes reduction='batchmean', for which torch then has no formula"
ONLY_MAPS = 'mmrazor takes (N, C, H, W) only'
ONLY_HEIGHTS = 'mmrazor resizes maps whose heights differ, and stops at maps whose widths alone do'
ONE_NUMBER = 'mmrazor computes the deviation of a single number, which is NaN'
NO_PAIRS = 'mmrazor takes the mean over the pairs of a single sample, which is NaN'
DEAD = 'mmrazor divides a channel that is the same everywhere by 1e-6: a gradient up to 1e6 too large'
NOTHING = 'mmrazor divides a factor that is zero everywhere by 1e-12: a gradient 1e12 too large'
COINCIDE = 'mmrazor divides the difference of equal samples by 1e-12: a gradient up to 1e12 too large'
NOISE = 'mmrazor puts equal samples 1e-6 apart, and in float32 as far as its products are rounded'


def unlike_pair(student: tuple[int, ...], teacher: tuple[int, ...]) -> MakeInputs:
    """Maker of two random tensors of two shapes."""

    def make(dtype: torch.dtype) -> tuple[Any, ...]:
        return tuple((torch.randn(shape, dtype=torch.float64) * 2).to(dtype) for shape in (student, teacher))

    return make


def _pyramids(dtype: torch.dtype) -> tuple[Any, ...]:
    levels = [pair((2, 4, size, size + 1))(dtype) for size in (8, 4, 2)]
    return tuple(student for student, _ in levels), tuple(teacher for _, teacher in levels)


def _signs(dtype: torch.dtype) -> tuple[Any, ...]:
    """Zeros and the margin itself among the features."""
    values = torch.tensor([-2.0, -1, -0.5, 0, 0.5, 1, 2], dtype=dtype)
    return torch.meshgrid(values, values, indexing='ij')  # (7, 7) both


def _dead_channel(dtype: torch.dtype) -> tuple[Any, ...]:
    student, teacher = pair((2, 3, 4, 4))(dtype)
    student[:, 1] = 3
    return student, teacher


def _dead_sample(dtype: torch.dtype) -> tuple[Any, ...]:
    student, teacher = pair((3, 4, 2, 2))(dtype)
    student[1] = 0
    return student, teacher


def _equal_samples(dtype: torch.dtype) -> tuple[Any, ...]:
    student, teacher = pair((5, 3))(dtype)
    student[3] = student[1]
    return student, teacher


def _mean_over_batch(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    return torch.stack([(s_row - t_row).abs().sum() for s_row, t_row in zip(student, teacher, strict=True)]).mean()


def _channel_divergences(student: torch.Tensor, teacher: torch.Tensor, tau: float) -> torch.Tensor:
    """Slow loop of ChannelWiseDivergence: one channel of one sample at a time."""
    losses = []
    for s_channel, t_channel in zip(student.flatten(0, 1), teacher.flatten(0, 1), strict=True):
        s_log, t_log = (channel.flatten() / tau for channel in (s_channel, t_channel))
        s_log, t_log = s_log - s_log.logsumexp(0), t_log - t_log.logsumexp(0)
        losses.append(t_log.exp() @ (t_log - s_log))
    return tau**2 * torch.stack(losses).mean()


def _channel_correlations(student: torch.Tensor, teacher: torch.Tensor, resize_stu: bool = True) -> torch.Tensor:
    """Slow loop of PKDLoss: one channel at a time."""
    if student.shape != teacher.shape and resize_stu:
        student = F.interpolate(student, teacher.shape[2:], mode='bilinear')
    elif student.shape != teacher.shape:
        teacher = F.interpolate(teacher, student.shape[2:], mode='bilinear')
    losses = []
    for channel in range(student.shape[1]):
        s_values, t_values = (_standard_scores(feature[:, channel].flatten()) for feature in (student, teacher))
        losses.append((s_values - t_values).square().mean() / 2)
    return torch.stack(losses).mean()


def _standard_scores(values: torch.Tensor) -> torch.Tensor:
    centred = values - values.mean()
    if (values == values[0]).all():
        return values * 0
    return centred / ((centred.square().sum() / (len(values) - 1)).sqrt() + 1e-6)


def _factors(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Slow loop of FTLoss: one sample at a time."""
    rows = zip(student.flatten(1), teacher.flatten(1), strict=True)
    return torch.stack([(_direction(s_row) - _direction(t_row)).abs().mean() for s_row, t_row in rows]).mean()


def _direction(row: torch.Tensor) -> torch.Tensor:
    length = row.square().sum().sqrt()
    return row / length if length > 0 else row.detach()


def _relative_distances(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Slow loop of DistanceWiseRKD without normalisation: one pair at a time."""
    count = len(student)
    relations = []
    for points in (student, teacher):
        lengths = [
            (points[i] - points[j]).square().sum().sqrt() if (points[i] != points[j]).any() else points.sum() * 0
            for i, j in product(range(count), repeat=2)
        ]
        mean = torch.stack(lengths).sum() / max(1, count**2 - count)
        relations.append(torch.stack(lengths) / (mean if mean > 0 else 1))
    return F.smooth_l1_loss(relations[0], relations[1])


def _angles(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Slow loop of AngleWiseRKD without normalisation: one triplet at a time."""
    relations = [
        torch.stack(
            [
                _direction(points[j] - points[i]) @ _direction(points[k] - points[i])
                for i, j, k in product(range(len(points)), repeat=3)
            ]
        )
        for points in (student, teacher)
    ]
    return F.smooth_l1_loss(relations[0], relations[1])


def _l1() -> Iterator[Case]:
    for shape, weight, reduction in product((*SHAPES, VIDEO), (1, 10), ('mean', 'sum', 'none')):
        yield Case('L1Loss', pair(shape), dict(loss_weight=weight, reduction=reduction), label=str(shape))
    for average, reduce in product((None, True, False), repeat=2):
        options: dict[str, Any] = dict(size_average=average, reduce=reduce, reduction='sum')
        yield Case('L1Loss', pair((3, 5)), options)
    yield Case('L1Loss', pair((3, 5)), dict(reduction='batchmean'), oracle=_mean_over_batch, why=CRASHES)


def _l2() -> Iterator[Case]:
    for shape, weight, normalize, mult, div_element, dist in product(
        SHAPES, (1, 10), (True, False), (1, 2.5), (True, False), (True, False)
    ):
        options: dict[str, Any] = dict(
            loss_weight=weight, normalize=normalize, mult=mult, div_element=div_element, dist=dist
        )
        yield Case('L2Loss', pair(shape), options, label=str(shape))


def _activations() -> Iterator[Case]:
    for shape, weight in product((*SHAPES, VIDEO), (1, 5)):
        for margin in (1, 0.5):
            yield Case('ABLoss', pair(shape), dict(loss_weight=weight, margin=margin), label=str(shape))
        for factor in (1000.0, 2.0):
            yield Case('OFDLoss', pair(shape), dict(loss_weight=weight, mul_factor=factor), label=str(shape))
    yield Case('ABLoss', _signs, label='zeros and margins')
    yield Case('OFDLoss', _signs, label='zeros')


def _attention() -> Iterator[Case]:
    for shape, weight in product((*MAPS, VIDEO), (1, 1000)):
        yield Case('ATLoss', pair(shape), dict(loss_weight=weight), label=str(shape))
    yield Case('ATLoss', unlike_pair((2, 4, 3, 3), (2, 6, 3, 3)), label='other channels')
    yield Case('ATLoss', _dead_sample, label='map of zeros')


def _factor_transfer() -> Iterator[Case]:
    for shape, weight in product((*SHAPES, VIDEO), (1, 1000)):
        yield Case('FTLoss', pair(shape), dict(loss_weight=weight), label=str(shape))
    dead = 'factor of zeros'
    yield Case('FTLoss', _dead_sample, label=dead, why=NOTHING, differs=True)
    yield Case('FTLoss', _dead_sample, label=dead, oracle=_factors, why=NOTHING)


def _channel_wise() -> Iterator[Case]:
    for shape, tau, weight in product(MAPS, (0.5, 1, 4), (1, 5)):
        yield Case('ChannelWiseDivergence', pair(shape), dict(tau=tau, loss_weight=weight), label=str(shape))
    oracle = partial(_channel_divergences, tau=4)
    yield Case('ChannelWiseDivergence', pair(VIDEO), dict(tau=4), label=str(VIDEO), oracle=oracle, why=ONLY_MAPS)


def _pearson() -> Iterator[Case]:
    for shape, weight in product(MAPS[:2], (1, 6)):
        yield Case('PKDLoss', pair(shape), dict(loss_weight=weight), label=str(shape))
    yield Case('PKDLoss', pair((5, 3, 1, 1)), label='(5, 3, 1, 1)')
    yield Case('PKDLoss', _pyramids, label='three levels')
    for resize in (True, False):
        options: dict[str, Any] = dict(resize_stu=resize)
        for student, teacher in (((2, 3, 4, 4), (2, 3, 8, 8)), ((2, 3, 6, 5), (2, 3, 4, 3))):
            yield Case('PKDLoss', unlike_pair(student, teacher), options, label=f'{student} {teacher}')
        wider = unlike_pair((2, 3, 4, 4), (2, 3, 4, 6))
        oracle = partial(_channel_correlations, resize_stu=resize)
        yield Case('PKDLoss', wider, options, label='other width', oracle=oracle, why=ONLY_HEIGHTS)
    yield Case('PKDLoss', pair(VIDEO), label=str(VIDEO), oracle=_channel_correlations, why=ONLY_MAPS)
    yield Case(
        'PKDLoss', pair((1, 3, 1, 1)), label='one number a channel', oracle=_channel_correlations, why=ONE_NUMBER
    )
    yield Case('PKDLoss', _dead_channel, label='dead channel', why=DEAD, differs=True)
    yield Case('PKDLoss', _dead_channel, label='dead channel', oracle=_channel_correlations, why=DEAD)


def _masked_generative() -> Iterator[Case]:
    for shape, alpha in product(MAPS, (0.00002, 1)):
        yield Case('MGDLoss', pair(shape), dict(alpha_mgd=alpha), label=str(shape))
    yield Case(
        'MGDLoss',
        pair(VIDEO),
        dict(alpha_mgd=1),
        label=str(VIDEO),
        oracle=lambda student, teacher: sum(torch.dist(s, t) ** 2 for s, t in zip(student, teacher, strict=True)) / 2,
        why=ONLY_MAPS,
    )


def _relational() -> Iterator[Case]:
    for component, shape, weight, unit in product(('DistanceWiseRKD', 'AngleWiseRKD'), ROWS, (1, 25), (True, False)):
        options: dict[str, Any] = dict(loss_weight=weight, with_l2_norm=unit)
        yield Case(component, pair(shape), options, label=str(shape))
    for component in ('DistanceWiseRKD', 'AngleWiseRKD'):
        yield Case(component, unlike_pair((5, 3), (5, 7)), label='other lengths')
    plain: dict[str, Any] = dict(loss_weight=1, with_l2_norm=False)
    one, equal = 'one sample', 'equal samples'
    yield Case('DistanceWiseRKD', pair((1, 4)), plain, label=one, oracle=_relative_distances, why=NO_PAIRS)
    yield Case('DistanceWiseRKD', _equal_samples, plain, label=equal, oracle=_relative_distances, why=NOISE)
    yield Case('AngleWiseRKD', pair((1, 4)), plain, label=one)
    yield Case('AngleWiseRKD', _equal_samples, plain, label=equal, why=COINCIDE, differs=True)
    yield Case('AngleWiseRKD', _equal_samples, plain, label=equal, oracle=_angles, why=COINCIDE)


FEATURE_LOSSES = [
    *_l1(),
    *_l2(),
    *_activations(),
    *_attention(),
    *_factor_transfer(),
    *_channel_wise(),
    *_pearson(),
    *_masked_generative(),
    *_relational(),
]
