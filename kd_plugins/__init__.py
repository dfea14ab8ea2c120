"""Knowledge distillation for the OpenMMLab stack."""

from kd_plugins import registry
from kd_plugins.checkpoint import allow_mmengine_checkpoints, guard_downloads
from kd_plugins.compat import bridge
from kd_plugins.version import __version__

__all__ = ['__version__', 'registry']

allow_mmengine_checkpoints()
guard_downloads()
bridge.install()
