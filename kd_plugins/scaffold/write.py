"""A config is written only if it passes the preflight."""

from __future__ import annotations

import os
from pathlib import Path

from kd_plugins.arguments import require_writable
from kd_plugins.compat.reading import names_of_today
from kd_plugins.config_file import read_config_file
from kd_plugins.errors import Fault, UserError
from kd_plugins.preflight import Findings, inspect_training
from kd_plugins.scaffold.silence import silence


def check_target(path: Path) -> None:
    """Refuse a file that cannot become a config.

    Args:
        path: Of the file.

    Raises:
        UserError: It exists, its folder does not, or mmengine would not read a config of that name.
    """
    if path.exists():
        raise UserError(Fault('-o', 'a file that does not exist yet', str(path), 'remove it, or write to another'))
    if path.suffix != '.py' or '.' in path.stem:
        advice = f'write for instance {path.with_name(path.name.split(".")[0] or "config")}.py'
        raise UserError(Fault('-o', 'a name.py without other dots, as mmengine reads it', str(path), advice))
    require_writable('-o', path)


def write_checked(path: Path, text: str) -> Findings:
    """Write a config, unless something is wrong with it.

    Data and weights need not be there: what their lack leaves unchecked is among the warnings.

    Args:
        path: File to write, which does not exist.
        text: The config.

    Returns:
        What the preflight found.

    Raises:
        UserError: With everything that is wrong; nothing is written then.
    """
    check_target(path)
    # beside it, for it may inherit from files that it names relative to itself
    draft = path.with_name(f'{path.stem}_draft_{os.getpid()}.py')
    try:
        draft.write_text(text)
        with silence(), names_of_today():
            findings = inspect_training(read_config_file(draft), ready=False)
        if findings.faults:
            raise UserError(*findings.faults)
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    return findings
