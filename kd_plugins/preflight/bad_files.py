"""How many bad files does a config put up with?"""

from __future__ import annotations

from typing import Any

from kd_plugins.arguments import refuse_other_keys
from kd_plugins.errors import Fault, UserError

WHERE = 'bad_files'


def bad_files_faults(config: Any) -> tuple[Fault, ...]:
    """Look at ``bad_files=dict(replace=N)`` of a config.

    Args:
        config: The whole config.

    Returns:
        A fault for each key or value that it may not have.
    """
    given = config.get(WHERE)
    if given is None:
        return ()
    if not isinstance(given, dict):
        return (Fault(WHERE, 'a dict', repr(given), 'write bad_files=dict(replace=N)'),)
    try:
        refuse_other_keys(WHERE, given, ('replace',))
    except UserError as error:
        return error.faults
    count = given.get('replace', 0)
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        return (Fault(f'{WHERE}.replace', 'a whole number from 0 on', repr(count), 'write 0 for none'),)
    return ()
