"""How a command line of ours ends: 0 when done, 2 with one message for a mistake of the user."""

from __future__ import annotations

import argparse
import functools
import gc
import logging
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec

from mmengine.config import DictAction

from kd_plugins.engine.distributed import leave_processes, rank_of_speaker
from kd_plugins.engine.stop_signals import StopRequested
from kd_plugins.errors import Fault, UserError, format_user_error

P = ParamSpec('P')
USER_ERROR_STATUS = 2
# as shells count an end by Ctrl-C
INTERRUPTED_STATUS = 130
# how long the other processes of a launch leave it to the first one to say what is wrong, in seconds
PATIENCE = 10


def command(main: Callable[P, None]) -> Callable[P, int]:
    """Decorate the main function of a tool.

    Returns:
        The function, returning the exit status: a :class:`UserError` is printed to stderr without a traceback, and so
        is Ctrl-C; a training that a signal stopped says what it saved; every other exception passes, for it is a bug.
        Where several processes were launched, the first one speaks: as it ends, the launcher ends the others, which
        wait for that.
    """

    @functools.wraps(main)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> int:
        if not args and not kwargs:
            # in a process of its own: what the imports have made stays to the end, and takes the collector a second or
            # more to look through each time that mmengine calls it, for every data set, and at the end
            gc.freeze()
        # a full disk is said once, not with every line of the log
        logging.raiseExceptions = False
        # mmcv-lite has no compiled operators, and says so at every start
        warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')
        try:
            main(*args, **kwargs)
            status = 0
        except UserError as error:
            rank = rank_of_speaker()
            if rank:
                time.sleep(PATIENCE + rank / 2)
            print(format_user_error(error), file=sys.stderr, flush=True)
            return USER_ERROR_STATUS
        except StopRequested as stop:
            if rank_of_speaker() == 0:
                print(_describe_stop(stop), file=sys.stderr, flush=True)
            status = stop.status
        except KeyboardInterrupt:
            if rank_of_speaker() == 0:
                print('interrupted', file=sys.stderr, flush=True)
            return INTERRUPTED_STATUS
        # by now an exception, which holds the model, is gone
        leave_processes()
        return status

    return wrapped


def _describe_stop(stop: StopRequested) -> str:
    saved = f'{stop.saved} is saved: go on with --resume' if stop.saved else 'no checkpoint is saved by this config'
    return f'{stop} after iteration {stop.iteration}; {saved}'


class ArgumentParser(argparse.ArgumentParser):
    """An argparse parser whose complaints are user errors like any other, said once for all processes."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        usage = ' '.join(self.format_usage().removeprefix('usage:').split())
        raise UserError(Fault('arguments', usage, message, f'{self.prog} --help explains them'))


class KeyValueAction(DictAction):
    """mmengine's ``KEY=VALUE KEY=V1,V2``, with a message for what is neither."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Read the values of an option."""
        try:
            super().__call__(parser, namespace, values, option_string)
        except (AssertionError, ValueError) as error:
            expected = 'KEY=VALUE, with brackets that match'
            advice = 'write for instance train_cfg.max_epochs=10'
            raise UserError(Fault(str(option_string), expected, ' '.join(values), advice)) from error
