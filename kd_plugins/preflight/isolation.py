"""A preflight leaves the process as it was."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.logging import MessageHub, MMLogger


@contextmanager
def isolated(config: Any) -> Iterator[None]:
    """Keep random states as they are, and the log for the run itself, which builds the same model again.

    Inside, numbers are random the same way each time, and the run seems to be at its first iteration.
    """
    states = random.getstate(), np.random.get_state()
    disabled = logging.root.manager.disable
    progress = MessageHub.get_current_instance().runtime_info
    before = dict(progress)
    train_cfg = config.get('train_cfg')
    limits = train_cfg if isinstance(train_cfg, dict) else {}
    try:
        _disable_logging(logging.WARNING)
        progress.update(epoch=0, iter=0, **{key: limits.get(key) or 1 for key in ('max_epochs', 'max_iters')})
        with torch.random.fork_rng(devices=[]):
            random.seed(0)
            np.random.seed(0)
            torch.manual_seed(0)
            yield
    finally:
        progress.clear()
        progress.update(before)
        _disable_logging(disabled)
        random.setstate(states[0])
        np.random.set_state(states[1])


def _disable_logging(level: int) -> None:
    logging.disable(level)
    # mmengine's loggers remember what was enabled, and Python does not know them
    for logger in MMLogger._instance_dict.values():
        logger._cache.clear()
