"""Preflight: what is wrong with a config is said before it costs time."""

from kd_plugins.preflight.check import (
    build_from_config,
    check_testing,
    check_training,
    inspect_modules,
    inspect_training,
)
from kd_plugins.preflight.data import data_faults, forbid_downloads
from kd_plugins.preflight.findings import Findings
from kd_plugins.preflight.modules import select
from kd_plugins.preflight.parts import runner_part, shape_faults
from kd_plugins.preflight.probe import loads_images, pipeline_of
from kd_plugins.preflight.render import notes

__all__ = [
    'Findings',
    'build_from_config',
    'check_testing',
    'check_training',
    'data_faults',
    'forbid_downloads',
    'inspect_modules',
    'inspect_training',
    'loads_images',
    'notes',
    'pipeline_of',
    'runner_part',
    'select',
    'shape_faults',
]
