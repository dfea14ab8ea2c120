"""Data sets that mmpretrain lacks."""

from kd_plugins.datasets.digits import Digits

__all__ = ['Digits']
