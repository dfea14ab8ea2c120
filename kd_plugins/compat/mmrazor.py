"""The mmrazor package on today's torch: ``import kd_plugins.compat.mmrazor``, and ``import mmrazor.models`` works.

A config for our tools, or one that names a type of ours first, needs no import: naming a type ``mmrazor.X`` is enough.

Raises:
    UserError: mmrazor is not installed, or not with what it needs.
"""

from kd_plugins.compat.bridge import install, require_mmrazor

install()
require_mmrazor('kd_plugins.compat.mmrazor')
