"""Connectors: modules between a record and a loss."""

from kd_plugins.connectors.conv_module_connector import ConvModuleConnector

__all__ = ['ConvModuleConnector']
