"""Distillers: they join recorders, connectors and losses."""

from kd_plugins.distiller.configurable_distiller import ConfigurableDistiller, parts_of
from kd_plugins.distiller.spec import AUTO, DistillerSpec, LossSpec, RecordSpec

__all__ = ['AUTO', 'ConfigurableDistiller', 'DistillerSpec', 'LossSpec', 'RecordSpec', 'parts_of']
