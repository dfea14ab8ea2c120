"""Knowledge distillation for the OpenMMLab stack.

Importing this package changes nothing in the process; see :mod:`kd_plugins.library_changes` for what its use changes.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from kd_plugins.version import __version__

if importlib.util.find_spec('mmengine') is None:
    raise ModuleNotFoundError(
        "kd_plugins needs mmengine, mmcv and mmpretrain: pip install 'kd_plugins[openmmlab]', "
        "or 'kd_plugins[onedl]' for the maintained forks"
    )

if TYPE_CHECKING:
    from kd_plugins import registry
    from kd_plugins.engine.cache_teacher import cache_teacher
    from kd_plugins.engine.check import check
    from kd_plugins.engine.config import load_config
    from kd_plugins.engine.export import export_student
    from kd_plugins.engine.launch import test as evaluate
    from kd_plugins.engine.launch import train
    from kd_plugins.errors import UserError
    from kd_plugins.plain import Distiller

__all__ = [
    'Distiller',
    'UserError',
    '__version__',
    'cache_teacher',
    'check',
    'evaluate',
    'export_student',
    'load_config',
    'registry',
    'train',
]

# module and name of what is imported when it is asked for: the engine takes seconds
_LAZY = {
    'Distiller': ('kd_plugins.plain', 'Distiller'),
    'UserError': ('kd_plugins.errors', 'UserError'),
    'cache_teacher': ('kd_plugins.engine.cache_teacher', 'cache_teacher'),
    'check': ('kd_plugins.engine.check', 'check'),
    'evaluate': ('kd_plugins.engine.launch', 'test'),
    'export_student': ('kd_plugins.engine.export', 'export_student'),
    'load_config': ('kd_plugins.engine.config', 'load_config'),
    'train': ('kd_plugins.engine.launch', 'train'),
}


def __getattr__(name: str) -> Any:
    if name == 'registry':
        return importlib.import_module(f'{__name__}.registry')
    if name not in _LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    module, attribute = _LAZY[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
