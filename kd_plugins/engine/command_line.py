"""How a command line of ours ends: 0 when done, 2 with one message for a mistake of the user."""

from __future__ import annotations

import argparse
import functools
import sys
import time
import warnings
from collections.abc import Callable
from typing import NoReturn, ParamSpec

from kd_plugins.engine.distributed import rank_of_speaker
from kd_plugins.errors import Fault, UserError

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
        is Ctrl-C; every other exception passes, for it is a bug. Where several processes were launched, the first one
        speaks: as it ends, the launcher ends the others, which wait for that.
    """

    @functools.wraps(main)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> int:
        # mmcv-lite has no compiled operators, and says so at every start
        warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')
        try:
            main(*args, **kwargs)
        except UserError as error:
            rank = rank_of_speaker()
            if rank:
                time.sleep(PATIENCE + rank / 2)
            print(format_user_error(error), file=sys.stderr, flush=True)
            return USER_ERROR_STATUS
        except KeyboardInterrupt:
            if rank_of_speaker() == 0:
                print('interrupted', file=sys.stderr, flush=True)
            return INTERRUPTED_STATUS
        return 0

    return wrapped


class ArgumentParser(argparse.ArgumentParser):
    """An argparse parser whose complaints are user errors like any other, said once for all processes."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        usage = ' '.join(self.format_usage().removeprefix('usage:').split())
        raise UserError(Fault('arguments', usage, message, f'{self.prog} --help explains them'))


def format_user_error(error: UserError) -> str:
    """The faults as they are shown: one block each."""
    blocks = [
        f'error: {fault.where}\n  expected: {fault.expected}\n  got:      {fault.got}\n  to do:    {fault.advice}'
        for fault in error.faults
    ]
    return '\n'.join(blocks)
