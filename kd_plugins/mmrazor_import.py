"""Lets the mmrazor package import on today's torch and mmcv.

Asked for anything of mmrazor, Python imports ``mmrazor.structures.quantization.backend_config``, the tables of
quantisation backends, and that module refuses every torch since 2.0. Distillation needs nothing of it, so an empty
table stands for it. mmrazor itself refuses every mmcv since 2.2, of which it needs nothing that has changed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from mmengine.utils import digit_version

# the last one that mmrazor 1.0.0 admits
NEWEST_MMCV = '2.1.0'
BROKEN = 'mmrazor.structures.quantization.backend_config'
COVERED = (
    f"{BROKEN} refuses this torch: an empty table of backends stands for it. mmrazor's quantisation does not work; "
    'everything else of it does.'
)


class _LoaderOver(Loader):
    """Stands before the loader of a file of mmrazor.

    Args:
        real: Loads the file.
    """

    def __init__(self, real: Loader) -> None:
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave it to Python."""
        return self.real.create_module(spec)


class PackageLoader(_LoaderOver):
    """Runs ``mmrazor/__init__.py``, which holds the version of mmcv against a limit, with the limit for a later one."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the real module."""
        import mmcv

        installed = mmcv.__version__
        if digit_version(installed) > digit_version(NEWEST_MMCV):
            mmcv.__version__ = NEWEST_MMCV
        try:
            self.real.exec_module(module)
        finally:
            mmcv.__version__ = installed


class BackendConfigLoader(_LoaderOver):
    """Runs the module as it is, and leaves an empty table of backends where that fails."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the real module, or fill in for it."""
        before = set(sys.modules)
        try:
            self.real.exec_module(module)
        except (ImportError, AttributeError):
            # its submodules that did import would look as if it had
            for name in set(sys.modules) - before:
                if name.startswith(f'{BROKEN}.'):
                    del sys.modules[name]
            module.BackendConfigs = {}  # type: ignore[attr-defined]
            module.__all__ = ['BackendConfigs']  # type: ignore[attr-defined]
            # not to stdout, where tools print what others read; of several processes the first one says it
            if os.environ.get('RANK', '0') == '0':
                print(COVERED, file=sys.stderr)


LOADERS = {'mmrazor': PackageLoader, BROKEN: BackendConfigLoader}


class BridgeFinder(MetaPathFinder):
    """Answers for the two modules that need it, where mmrazor is installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for one of the two modules, and None for every other."""
        if fullname not in LOADERS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = LOADERS[fullname](spec.loader)
        return spec


def install() -> None:
    """Make mmrazor importable from now on; installing twice does nothing."""
    if not any(isinstance(finder, BridgeFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, BridgeFinder())
