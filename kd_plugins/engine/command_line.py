"""How a command line of ours ends: 0 when done, 2 with one message for a mistake of the user."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Callable
from typing import ParamSpec

from kd_plugins.errors import UserError

P = ParamSpec('P')
USER_ERROR_STATUS = 2


def command(main: Callable[P, None]) -> Callable[P, int]:
    """Decorate the main function of a tool.

    Returns:
        The function, returning the exit status: a :class:`UserError` is printed to stderr without a traceback, by the
        first process only; every other exception passes, for it is a bug.
    """

    @functools.wraps(main)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> int:
        # mmcv-lite has no compiled operators, and says so at every start
        warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')
        try:
            main(*args, **kwargs)
        except UserError as error:
            if os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0')) == '0':
                print(format_user_error(error), file=sys.stderr)
            return USER_ERROR_STATUS
        return 0

    return wrapped


def format_user_error(error: UserError) -> str:
    """The faults as they are shown: one block each."""
    blocks = [
        f'error: {fault.where}\n  expected: {fault.expected}\n  got:      {fault.got}\n  to do:    {fault.advice}'
        for fault in error.faults
    ]
    return '\n'.join(blocks)
