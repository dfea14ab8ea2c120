"""Arguments of components: what they have to be, and the message for when they are not."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from kd_plugins.errors import Fault, UserError, closest, join_path


def require_positive(name: str, value: Any, advice: str = 'choose a larger one') -> None:
    """Refuse what is not a finite number above 0.

    Args:
        name: Name of the argument.
        value: What was given.
        advice: What to do instead.

    Raises:
        UserError: ``value`` is 0, negative, infinite, NaN or no number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float('inf'):
        raise UserError(Fault(name, 'a finite number above 0', repr(value), advice))


def require_choice(name: str, value: Any, choices: Collection[Any], advice: str = 'choose one of them') -> None:
    """Refuse what is not one of a few values.

    Args:
        name: Name of the argument.
        value: What was given.
        choices: What it may be.
        advice: What to do instead.

    Raises:
        UserError: ``value`` is none of ``choices``.
    """
    if not any(value is choice or (type(value) is type(choice) and value == choice) for choice in choices):
        raise UserError(Fault(name, f'one of {", ".join(map(repr, choices))}', repr(value), advice))


def require_writable(name: str, path: Path) -> None:
    """Refuse the path of a file that cannot be written there.

    Args:
        name: Name of the argument.
        path: What was given.

    Raises:
        UserError: The folder that it is in does not exist or cannot be written, or ``path`` is a folder itself.
    """
    if not path.parent.is_dir():
        raise UserError(Fault(name, 'a file in a folder that exists', str(path), f'create {path.parent}'))
    if path.is_dir():
        raise UserError(Fault(name, 'the name of a file', f'{path}, which is a folder', 'add the name of a file'))
    _require_room_for_files(name, path.parent, 'a file in a folder that can be written', path)


def require_writable_folder(name: str, path: Path) -> None:
    """Refuse the path of a folder, which need not exist yet, that no file can be written into.

    Args:
        name: Name of the argument.
        path: What was given.

    Raises:
        UserError: It is a file or below one, or cannot be written.
    """
    existing = next(part for part in (path, *path.absolute().parents) if part.exists())
    if not existing.is_dir():
        raise UserError(Fault(name, 'a folder', f'{path}, which is or lies in a file', 'choose another'))
    _require_room_for_files(name, existing, 'a folder that can be written', path)


def _require_room_for_files(name: str, folder: Path, expected: str, path: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(Fault(name, expected, f'{path} ({error.strerror})', 'choose another')) from error


def require_rank(name: str, value: Any, ranks: Collection[int], expected: str, advice: str) -> None:
    """Refuse what is not a tensor of one of a few ranks.

    Args:
        name: Name of the argument.
        value: What was given.
        ranks: Numbers of dimensions that are accepted.
        expected: What it has to be, with its shape.
        advice: What to do instead.

    Raises:
        UserError: ``value`` is no tensor, or has another rank.
    """
    if not isinstance(value, torch.Tensor):
        got = f'a {type(value).__name__}'
        raise UserError(Fault(name, expected, got, 'choose an element of it with data_idx'))
    if value.dim() not in ranks:
        raise UserError(Fault(name, expected, str(tuple(value.shape)), advice))


def refuse_other_keys(where: str, given: Mapping[str, Any], keys: Collection[str]) -> None:
    """Refuse keys that a dict of a config does not have.

    Args:
        where: Key path of the dict.
        given: The dict.
        keys: Those that it may have.

    Raises:
        UserError: With every other key, and the closest of ``keys``.
    """
    unknown = [str(key) for key in given if key not in keys]
    if unknown:
        expected = f'one of {", ".join(keys)}'
        raise UserError(*(Fault(join_path(where, key), expected, repr(key), closest(key, keys)) for key in unknown))
