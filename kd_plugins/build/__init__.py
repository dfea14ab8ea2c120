"""From configs to components and models."""

from kd_plugins.build.component import build_component, check_arguments
from kd_plugins.build.model import build_model, resolve_model_config
from kd_plugins.build.names import FALLBACK_SCOPE, explain_unknown_type, registered_names, user_scope

__all__ = [
    'FALLBACK_SCOPE',
    'build_component',
    'build_model',
    'check_arguments',
    'explain_unknown_type',
    'registered_names',
    'resolve_model_config',
    'user_scope',
]
