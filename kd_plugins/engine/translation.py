"""From the file of a config of MMRazor to the file of a native one."""

from __future__ import annotations

import os
from pathlib import Path

from kd_plugins.compat.page import run_part, write_page
from kd_plugins.engine.config import read_translated
from kd_plugins.errors import Fault, UserError


def write_translated(source: str | Path, out: Path) -> list[str]:
    """Write the native equivalent of a config, and read it back before it gets its name.

    Args:
        source: The config of MMRazor.
        out: File to write.

    Returns:
        A line for each kind of thing that was read differently.

    Raises:
        UserError: The source cannot be read, has nothing of MMRazor in it, or cannot be written down; nothing is
            written then.
    """
    config, notes = read_translated(source)
    if not notes:
        advice = 'use it as it is: python tools/train.py takes it'
        raise UserError(Fault('IN', 'a config of MMRazor', f'{source}, which is native', advice))
    # beside it, for a rename cannot leave half a file
    draft = out.with_name(f'{out.stem}_draft_{os.getpid()}.py')
    try:
        draft.write_text(write_page(config, source, notes, out))
        written, changed = _read_back(draft, source)
        if changed or run_part(written) != run_part(config):
            names = [key for key, value in run_part(config).items() if run_part(written).get(key) != value]
            raise RuntimeError(f'{source}: the written config differs in {", ".join(names) or changed}')
        draft.rename(out)
    finally:
        draft.unlink(missing_ok=True)
    return notes


def _read_back(draft: Path, source: str | Path) -> tuple[object, list[str]]:
    try:
        return read_translated(draft)
    except UserError as error:
        got = f'{source}, which holds something else ({error.faults[0].got})'
        expected, advice = 'a config of dicts, lists, strings and numbers', 'write functions and objects as strings'
        raise UserError(Fault('IN', expected, got, advice)) from error
