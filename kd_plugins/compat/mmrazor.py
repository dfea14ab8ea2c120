"""The mmrazor package on today's torch: ``import kd_plugins.compat.mmrazor``, and ``import mmrazor.models`` works.

A config needs no import: naming a type ``mmrazor.X`` is enough, for ``import kd_plugins`` puts the bridge in place.

Raises:
    UserError: mmrazor is not installed, or not with what it needs.
"""

from kd_plugins.compat.bridge import install, require_mmrazor

install()
require_mmrazor('kd_plugins.compat.mmrazor')
