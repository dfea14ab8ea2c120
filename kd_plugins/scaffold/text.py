"""Values of a config as people write them."""

from __future__ import annotations

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
    nested = isinstance(value, (dict, list)) and bool(value)
    # one more for the comma
    if not nested or (not broken and indent + before + len(flat) + 1 <= WIDTH):
        return flat
    inner = ' ' * (indent + 4)
    if isinstance(value, dict):
        lines = [
            f'{inner}{key}={render(child, indent + 4, len(key) + 1, max(broken - 1, 0))},'
            for key, child in value.items()
        ]
        opening, closing = 'dict(', ')'
    else:
        lines = [f'{inner}{render(child, indent + 4)},' for child in value]
        opening, closing = '[', ']'
    return '\n'.join([opening, *lines, ' ' * indent + closing])


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return f'dict({", ".join(f"{key}={_flat(child)}" for key, child in value.items())})'
    if isinstance(value, list):
        return f'[{", ".join(map(_flat, value))}]'
    if isinstance(value, tuple):
        return f'({", ".join(map(_flat, value))}{"," if len(value) == 1 else ""})'
    return repr(value)
