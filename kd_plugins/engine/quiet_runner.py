"""mmengine's Runner, which leaves the terminal to the progress bar."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.runner import Runner
from rich.console import Console

# a file of the log, and how many older ones are kept
LOG_BYTES, LOG_FILES = 20 * 2**20, 4


class QuietRunner(Runner):
    """Writes warnings alone to a terminal; the log file, and a pipe, get everything as before.

    The log begins a new file every 20 MB, and keeps the last five.
    """

    def build_logger(self, *args: Any, **kwargs: Any) -> logging.Logger:
        """Build mmengine's logger, bound its file, and raise the level of its terminal."""
        files = dict(type='RotatingFileHandler', maxBytes=LOG_BYTES, backupCount=LOG_FILES)
        kwargs.setdefault('file_handler_cfg', files)
        logger = super().build_logger(*args, **kwargs)
        if Console(stderr=True).is_terminal:
            for handler in console_handlers(logger):
                handler.setLevel(max(handler.level, logging.WARNING))
                handler.addFilter(_concerns_the_user)
        return logger


def _concerns_the_user(record: logging.LogRecord) -> bool:
    """Whether a warning is more than mmengine's note on functions that mmengine itself still calls."""
    return 'will be deprecated in future' not in record.getMessage()


def console_handlers(logger: logging.Logger) -> list[logging.StreamHandler]:
    """The handlers of a logger that write to a console rather than to a file."""
    return [
        handler
        for handler in logger.handlers
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
    ]
