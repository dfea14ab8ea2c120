"""Distillation in a training loop of the user's own, for plain PyTorch models."""

from kd_plugins.plain.distiller import Distiller

__all__ = ['Distiller']
