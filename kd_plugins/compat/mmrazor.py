"""Makes the installed mmrazor 1.0.0 importable on today's torch: ``import kd_plugins.compat.mmrazor`` is enough.

mmrazor.structures.quantization.backend_config asks torch for names that are gone since torch 2.0. Distillation needs
nothing of it: a module with an empty table of backends in its place, and the rest of mmrazor imports.
"""

from __future__ import annotations

import sys
from types import ModuleType

BROKEN = 'mmrazor.structures.quantization.backend_config'

_stand_in = ModuleType(BROKEN, 'Stands for the quantisation backends of mmrazor, which torch 2 cannot import.')
_stand_in.BackendConfigs = {}  # type: ignore[attr-defined]
sys.modules.setdefault(BROKEN, _stand_in)
