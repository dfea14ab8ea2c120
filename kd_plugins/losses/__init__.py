"""Distill losses: tensors in, scalar out."""

from kd_plugins.losses.kl_divergence import KLDivergence
from kd_plugins.losses.l2_loss import L2Loss

__all__ = ['KLDivergence', 'L2Loss']
