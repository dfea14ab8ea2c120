"""Preflight: what is wrong with a config is said before it costs time."""

from kd_plugins.preflight.check import build_from_config, check_checkpoint, check_training
from kd_plugins.preflight.data import data_faults

__all__ = ['build_from_config', 'check_checkpoint', 'check_training', 'data_faults']
