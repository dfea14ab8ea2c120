"""Preflight: what is wrong with a config is said before it costs time."""

from kd_plugins.preflight.check import build_from_config, check_testing, check_training
from kd_plugins.preflight.data import data_faults
from kd_plugins.preflight.probe import pipeline_of

__all__ = ['build_from_config', 'check_testing', 'check_training', 'data_faults', 'pipeline_of']
