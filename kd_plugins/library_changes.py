"""Everything that this package changes in other libraries: four things, for the whole process.

``import kd_plugins`` changes nothing. :mod:`kd_plugins.registry` applies the changes as it is imported: by whatever of
ours is registered, which the algorithms and all tools are made of, and by mmengine as soon as a config names
``kd_plugins.X``, under the tools of other libraries as well.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

import mmengine.logging

from kd_plugins import mmrazor_import
from kd_plugins.checkpoint import allow_mmengine_checkpoints, guard_downloads


def apply_library_changes() -> None:
    """Make the changes; doing so twice changes nothing more."""
    # torch >= 2.6 loads weights only, and so refuses the HistoryBuffer and the methods that mmengine 0.10 puts into its
    # own checkpoints: they are added to torch.serialization's safe globals
    allow_mmengine_checkpoints()
    # mmengine 0.10 unpickles whatever init_cfg, load_from and resume name, and executes the config in a checkpoint's
    # meta: our reader takes the place of the loaders in mmengine.runner.CheckpointLoader
    guard_downloads()
    # mmrazor 1.0.0 refuses torch >= 2.0 and mmcv >= 2.2: a finder in sys.meta_path answers for two of its modules
    mmrazor_import.install()
    # mmengine 0.10 prints whatever has no logger, and the forks (onedl-mmcv 2.3, onedl-mmpretrain 1.3) send messages of
    # level DEBUG so as they are imported: mmengine.logging.print_log leaves those out
    drop_debug_prints()


def drop_debug_prints() -> None:
    """Keep what the forks say to nobody off stdout, where tools print what others read.

    mmengine prints a message that has no logger whatever its level, and the forks of the other libraries send one, of
    level DEBUG, as they are imported. Calling this twice does nothing more.
    """
    original = mmengine.logging.print_log
    if hasattr(original, '__wrapped__'):
        return

    @functools.wraps(original)
    def print_log(msg: Any, logger: Any = None, level: int = logging.INFO) -> None:
        if logger is not None or level > logging.DEBUG:
            original(msg, logger, level)

    mmengine.logging.print_log = print_log
