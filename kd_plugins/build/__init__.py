"""From configs to components and models."""

from kd_plugins.build.beginning import beginnings
from kd_plugins.build.component import (
    Declared,
    argument_faults,
    build_component,
    find_component,
    parameters_of,
    with_suffix,
)
from kd_plugins.build.failure import explain_failure
from kd_plugins.build.leftover import leftover_deletions
from kd_plugins.build.library import (
    library_config_file,
    library_folder,
    read_library_config,
    require_library_config,
)
from kd_plugins.build.mmrazor_bases import base_to_use, wrong_base_fault
from kd_plugins.build.model import build_model, initialise, resolve_model_config
from kd_plugins.build.names import (
    FALLBACK_SCOPE,
    advise_on_type,
    bare_name,
    is_registered,
    names_in,
    registered_names,
    user_scope,
)

__all__ = [
    'FALLBACK_SCOPE',
    'Declared',
    'advise_on_type',
    'argument_faults',
    'bare_name',
    'base_to_use',
    'beginnings',
    'build_component',
    'build_model',
    'explain_failure',
    'find_component',
    'initialise',
    'is_registered',
    'leftover_deletions',
    'library_config_file',
    'library_folder',
    'names_in',
    'parameters_of',
    'read_library_config',
    'registered_names',
    'require_library_config',
    'resolve_model_config',
    'user_scope',
    'with_suffix',
    'wrong_base_fault',
]
