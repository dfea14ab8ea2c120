"""Lets mmrazor 1.0.0 be imported on today's torch.

mmrazor.structures.quantization.backend_config asks torch for names that are gone since torch 2.0. Distillation needs
nothing of it: a module with an empty table of backends in its place, and the rest of mmrazor imports.
"""

from __future__ import annotations

import sys
from types import ModuleType

BROKEN = 'mmrazor.structures.quantization.backend_config'


def import_mmrazor() -> ModuleType:
    """Import ``mmrazor.models`` and give it back."""
    module = ModuleType(BROKEN)
    module.BackendConfigs = {}
    sys.modules.setdefault(BROKEN, module)
    import mmrazor.models

    return mmrazor.models
