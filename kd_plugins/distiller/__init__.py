"""Distillers: they join recorders, connectors and losses."""

from kd_plugins.distiller.configurable_distiller import ConfigurableDistiller

__all__ = ['ConfigurableDistiller']
