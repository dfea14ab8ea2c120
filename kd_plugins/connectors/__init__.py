"""Connectors: modules between a record and a loss."""

from kd_plugins.connectors.byot_connector import BYOTConnector
from kd_plugins.connectors.choice import (
    IN_NAMES,
    OUT_NAMES,
    channels_of,
    choose_connectors,
    complete_channels,
    missing_channels,
)
from kd_plugins.connectors.conv_module_connector import ConvModuleConnector
from kd_plugins.connectors.crd_connector import CRDConnector
from kd_plugins.connectors.fbkd_connector import FBKDStudentConnector, FBKDTeacherConnector
from kd_plugins.connectors.linear_connector import LinearConnector
from kd_plugins.connectors.map_to_tokens import MapToTokensConnector
from kd_plugins.connectors.mgd_connector import MGDConnector
from kd_plugins.connectors.norm_connector import NormConnector
from kd_plugins.connectors.ofd_margin import batch_norm_margin
from kd_plugins.connectors.ofd_teacher_connector import OFDTeacherConnector
from kd_plugins.connectors.paraphraser import Paraphraser
from kd_plugins.connectors.resize_connector import ResizeConnector
from kd_plugins.connectors.tokens_to_map import TokensToMapConnector
from kd_plugins.connectors.torch_functional_connector import TorchFunctionalConnector
from kd_plugins.connectors.torch_nn_connector import TorchNNConnector
from kd_plugins.connectors.translator import Translator

__all__ = [
    'IN_NAMES',
    'OUT_NAMES',
    'BYOTConnector',
    'CRDConnector',
    'ConvModuleConnector',
    'FBKDStudentConnector',
    'FBKDTeacherConnector',
    'LinearConnector',
    'MGDConnector',
    'MapToTokensConnector',
    'NormConnector',
    'OFDTeacherConnector',
    'Paraphraser',
    'ResizeConnector',
    'TokensToMapConnector',
    'TorchFunctionalConnector',
    'TorchNNConnector',
    'Translator',
    'batch_norm_margin',
    'channels_of',
    'choose_connectors',
    'complete_channels',
    'missing_channels',
]
