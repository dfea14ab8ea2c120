"""Distillers: they join recorders, connectors and losses."""

from kd_plugins.distiller.build import build_distiller
from kd_plugins.distiller.byot_distiller import BYOTDistiller
from kd_plugins.distiller.configurable_distiller import ConfigurableDistiller, parts_of
from kd_plugins.distiller.ofd_distiller import OFDDistiller
from kd_plugins.distiller.spec import AUTO, DISTILLERS, DistillerSpec, LossSpec, RecordSpec

__all__ = [
    'AUTO',
    'DISTILLERS',
    'BYOTDistiller',
    'ConfigurableDistiller',
    'DistillerSpec',
    'LossSpec',
    'OFDDistiller',
    'RecordSpec',
    'build_distiller',
    'parts_of',
]
