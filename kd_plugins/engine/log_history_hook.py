"""Hook that bounds what mmengine remembers of every logged number."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from kd_plugins.errors import Fault, UserError
from kd_plugins.registry import HOOKS


@HOOKS.register_module()
class LogHistoryHook(Hook):
    """Keeps the last values of each scalar instead of a million.

    mmengine appends each loss to a NumPy array that is copied whole at every iteration and saved in every checkpoint:
    after an ImageNet schedule that is tens of megabytes, for a log that averages the last ten values. Where the
    log_processor averages over an epoch or the whole run, the history stays as mmengine keeps it.

    Args:
        keep: Values to remember of each scalar.

    Raises:
        UserError: ``keep`` is not a whole number above 0.
    """

    priority = 'VERY_LOW'

    def __init__(self, keep: int = 1000) -> None:
        if not isinstance(keep, int) or keep < 1:
            raise UserError(Fault('keep', 'a whole number above 0', repr(keep), 'the log itself averages over 10'))
        self.keep = keep

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Bound the histories that have appeared since the last time."""
        if not self.every_n_train_iters(runner, self.keep):
            return
        processor = runner.log_processor
        windows = [processor.window_size, *(custom.get('window_size') for custom in processor.custom_cfg)]
        if 'epoch' in windows or 'global' in windows:
            return
        keep = max([self.keep, *(window for window in windows if isinstance(window, int))])
        for history in runner.message_hub.log_scalars.values():
            history.max_length = keep
