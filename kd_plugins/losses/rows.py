"""Features as one row a sample: their lengths and their differences, in as few passes as it takes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

# a power of 2, like the numbers of channels; a row of 800000 numbers loses 2 digits in one piece
MOST_PIECES = 64


def as_rows(student: torch.Tensor, teacher: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Flatten two features, in the order in which the student's lies in memory.

    Flattening a map with channels last in the order of its dimensions would copy it. The order is the same on both
    sides, but no promise: sums over a row do not depend on it.

    Args:
        student: (N, …).
        teacher: Of the same shape.

    Returns:
        Both, (N, D); views where the memory allows it.
    """
    # longest stride first; of dimensions of size 1 the stride means nothing
    strides = student.stride()
    order = [0, *sorted(range(1, student.dim()), key=lambda dim: (-strides[dim], dim))]
    return student.permute(order).flatten(1), teacher.permute(order).flatten(1)


def squared_length(rows: torch.Tensor) -> torch.Tensor:
    """Sum of the squares of all numbers, (N, D) -> scalar, whose gradient takes one pass."""
    return F.mse_loss(rows, rows.new_zeros(()).expand_as(rows), reduction='sum')


def unit_difference(
    student: torch.Tensor, teacher: torch.Tensor, length: float = 1.0, exact_zero: bool = False
) -> torch.Tensor:
    r"""Difference of two sets of rows that are scaled to one length.

    .. math:: d_n = \ell \Big( \frac{s_n}{\lVert s_n \rVert_2} - \frac{t_n}{\lVert t_n \rVert_2} \Big)

    A row of zeros has no direction: it stays zero, without gradient. Only d is written in the forward, and one tensor a
    side in the backward. Its squared length is :math:`2 \ell^2 (1 - \cos)`, but in float32 that form loses all digits
    of a small distance.

    Args:
        student: (N, D).
        teacher: (N, D).
        length: Length of a scaled row.
        exact_zero: Make sure that equal rows have the difference 0, which takes another pass; otherwise the scaled
            student's row is rounded and the teacher's is not.

    Returns:
        (N, D). Gradient flows to both sides, and further to gradients of gradients.
    """
    return _UnitDifference.apply(student, teacher, length, exact_zero)


class _UnitDifference(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, student: torch.Tensor, teacher: torch.Tensor, length: float, exact_zero: bool
    ) -> torch.Tensor:
        ctx.length = length
        scales = _scales(student, length), _scales(teacher, length)
        ctx.save_for_backward(student, teacher, *scales)
        difference = student * scales[0]
        if exact_zero:
            return difference.sub_(teacher * scales[1])
        return difference.addcmul_(teacher, scales[1], value=-1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        student, teacher, s_scales, t_scales = ctx.saved_tensors
        if torch.is_grad_enabled():
            # for the gradient of this gradient, the scales are functions of the rows
            s_scales, t_scales = (_differentiable_scales(rows, ctx.length) for rows in (student, teacher))
        s_wanted, t_wanted, *_ = ctx.needs_input_grad
        return (
            _across(student, s_scales, ctx.length, gradient) if s_wanted else None,
            _across(teacher, -t_scales, ctx.length, gradient) if t_wanted else None,
            None,
            None,
        )


def _scales(rows: torch.Tensor, length: float) -> torch.Tensor:
    """What brings each row to a length, (N, D) -> (N, 1); 0 for a row of zeros."""
    norm = torch.linalg.vector_norm(torch.linalg.vector_norm(_pieces(rows), dim=2), dim=1, keepdim=True)
    return length / norm.masked_fill(norm == 0, torch.inf)


def _differentiable_scales(rows: torch.Tensor, length: float) -> torch.Tensor:
    """The same with a gradient, and a temporary: those of norms are NaN in the second order where a norm is 0."""
    squares = rows.square().sum(dim=1, keepdim=True)
    zero = squares == 0
    return length * squares.masked_fill(zero, 1).rsqrt().masked_fill(zero, 0)


def _across(rows: torch.Tensor, scales: torch.Tensor, length: float, gradient: torch.Tensor) -> torch.Tensor:
    """Gradient of the scaled rows: what of it lies along a row would change its length alone."""
    along = _products(rows, gradient) * scales**3 / length**2
    return torch.addcmul(gradient * scales, rows, along, value=-1)


def _products(rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Scalar products, row by row, (N, D), (N, D) -> (N, 1)."""
    if rows.device.type == 'cpu':
        # without a temporary of (N, D); a GPU may do this in TF32, and on few of its cores
        parts = torch.bmm(_pieces(rows).flatten(0, 1).unsqueeze(1), _pieces(others).flatten(0, 1).unsqueeze(2))
        return parts.view(len(rows), -1).sum(dim=1, keepdim=True)
    return (rows * others).sum(dim=1, keepdim=True)


def _pieces(rows: torch.Tensor) -> torch.Tensor:
    """(N, D) -> (N, P, D / P): sums in float32 of too many numbers at a time lose digits."""
    length = rows.shape[1]
    return rows.reshape(len(rows), min(length & -length, MOST_PIECES), -1)
