"""Kullback-Leibler divergence of distributions that are given as logarithms."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """What each element adds to the divergence: 0 where the teacher's probability is 0.

    Args:
        student: Log-probabilities.
        teacher: Log-probabilities of the same shape; -inf for what a model rules out by a logit of -inf.

    Returns:
        Of the same shape.
    """
    # 0 times -inf is NaN
    teacher = teacher.clamp_min(torch.finfo(teacher.dtype).min)
    return F.kl_div(student, teacher, reduction='none', log_target=True)
