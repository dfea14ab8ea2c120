"""Knowledge distillation for the OpenMMLab stack."""

import importlib.util
from typing import Any

if importlib.util.find_spec('mmengine') is None:
    raise ModuleNotFoundError(
        "kd_plugins needs mmengine, mmcv and mmpretrain: pip install 'kd_plugins[openmmlab]', "
        "or 'kd_plugins[onedl]' for the maintained forks"
    )

from kd_plugins import registry
from kd_plugins.checkpoint import allow_mmengine_checkpoints, guard_downloads
from kd_plugins.compat import bridge
from kd_plugins.stack import drop_debug_prints
from kd_plugins.version import __version__

__all__ = ['Distiller', '__version__', 'registry']

allow_mmengine_checkpoints()
guard_downloads()
bridge.install()
drop_debug_prints()


def __getattr__(name: str) -> Any:
    # imported when asked for: it needs almost every file of the package
    if name == 'Distiller':
        from kd_plugins.plain import Distiller

        return Distiller
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
