"""Connectors: modules between a record and a loss."""

from kd_plugins.connectors.choice import (
    IN_NAMES,
    OUT_NAMES,
    channels_of,
    choose_connectors,
    complete_channels,
    missing_channels,
)
from kd_plugins.connectors.conv_module_connector import ConvModuleConnector
from kd_plugins.connectors.linear_connector import LinearConnector
from kd_plugins.connectors.map_to_tokens import MapToTokensConnector
from kd_plugins.connectors.resize_connector import ResizeConnector
from kd_plugins.connectors.tokens_to_map import TokensToMapConnector

__all__ = [
    'IN_NAMES',
    'OUT_NAMES',
    'ConvModuleConnector',
    'LinearConnector',
    'MapToTokensConnector',
    'ResizeConnector',
    'TokensToMapConnector',
    'channels_of',
    'choose_connectors',
    'complete_channels',
    'missing_channels',
]
