"""The trained weights that the parts of a model begin with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# init_cfg of any module of mmengine; pretrained of some models and backbones, with a path or an address
KEYS = ('init_cfg', 'pretrained')


def beginnings(config: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every file that a model's config names for it, or a part of it, to begin with.

    Args:
        config: Of the model or a part. What ``cfg_path`` stands for is not looked at.

    Yields:
        The keys that lead to the file, with indices of lists as text, and the file: a path or an address.
    """
    if isinstance(config, Mapping):
        children = [(str(key), child) for key, child in config.items()]
    else:
        children = [(str(index), child) for index, child in enumerate(config)] if _is_list(config) else []
    for key, child in children:
        found = _named(key, child) if key in KEYS else beginnings(child)
        yield from (((key, *keys), file) for keys, file in found)


def _named(key: str, value: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """The files that the value of one of ``KEYS`` names."""
    if key == 'pretrained' and isinstance(value, str):
        yield (), value
    elif _is_list(value):
        for index, child in enumerate(value):
            yield from (((str(index), *keys), file) for keys, file in _named(key, child))
    elif isinstance(value, Mapping) and value.get('type') == 'Pretrained' and isinstance(value.get('checkpoint'), str):
        yield ('checkpoint',), value['checkpoint']


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))
