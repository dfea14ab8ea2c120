"""Values of a config as people write them."""

from __future__ import annotations

import keyword
import textwrap
from typing import Any

WIDTH = 120


def assign(name: str, value: Any) -> str:
    """``name = value``, over several lines where it is long."""
    return f'{name} = {render(value, before=len(name) + 3)}'


def comment(text: str) -> str:
    """Lines of comment, broken where they are too long; leading spaces of a line are kept."""
    lines = []
    for line in text.split('\n'):
        indent = '# ' + ' ' * (len(line) - len(line.lstrip()))
        lines += textwrap.wrap(
            line.strip(),
            WIDTH,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return '\n'.join(lines)


def render(value: Any, indent: int = 0, before: int = 0, broken: int = 0) -> str:
    """A value as Python.

    Args:
        value: Of dicts, lists, tuples, strings, numbers, booleans and None.
        indent: Of the line on which it starts, in spaces.
        before: Width of what stands before it on that line.
        broken: Down to which depth dicts are broken into lines however short they are.
    """
    flat = _flat(value)
    nested = isinstance(value, (dict, list, tuple)) and bool(value)
    # one more for the comma
    if not nested or (not broken and indent + before + len(flat) + 1 <= WIDTH):
        return flat
    inner = ' ' * (indent + 4)
    opening, closing = _brackets(value)
    if isinstance(value, dict):
        lines = []
        for key, child in value.items():
            entry = _key(key, value)
            lines.append(f'{inner}{entry}{render(child, indent + 4, len(entry), max(broken - 1, 0))},')
    else:
        lines = [f'{inner}{render(child, indent + 4)},' for child in value]
    return '\n'.join([opening, *lines, ' ' * indent + closing])


def _flat(value: Any) -> str:
    if not isinstance(value, (dict, list, tuple)):
        return repr(value)
    opening, closing = _brackets(value)
    if isinstance(value, dict):
        parts = [f'{_key(key, value)}{_flat(child)}' for key, child in value.items()]
    else:
        parts = [_flat(child) for child in value]
    return f'{opening}{", ".join(parts)}{"," if isinstance(value, tuple) and len(value) == 1 else ""}{closing}'


def _brackets(value: Any) -> tuple[str, str]:
    if isinstance(value, dict):
        return ('dict(', ')') if _is_named(value) else ('{', '}')
    return ('[', ']') if isinstance(value, list) else ('(', ')')


def _key(key: Any, parent: dict[Any, Any]) -> str:
    return f'{key}=' if _is_named(parent) else f'{key!r}: '


def _is_named(value: dict[Any, Any]) -> bool:
    """Whether it can be written as ``dict(key=…)``."""
    return all(isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key) for key in value)
