"""Are the data where the config says?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kd_plugins.errors import Fault

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def data_faults(config: Any, loaders: tuple[str, ...] = LOADERS) -> list[Fault]:
    """Look for the folder of each data set, without listing it.

    Args:
        config: The whole config.
        loaders: The data loaders to look at.

    Returns:
        A fault per missing folder.
    """
    missing: dict[Path, tuple[Any, list[str]]] = {}
    for loader in loaders:
        for where, dataset in _datasets(config.get(loader), loader):
            for folder in [] if dataset.get('download') is True else _folders(dataset):
                if not folder.is_dir():
                    missing.setdefault(folder, (dataset.get('type'), []))[1].append(f'{where}.data_root')
    return [
        Fault(
            keys[0],
            f'the folder of the {kind} data',
            f'{folder}, which does not exist',
            f'put the data there, or give its place: --cfg-options {" ".join(f"{key}=DIR" for key in keys)}'
            ' (where the data set can fetch itself, set download=True)',
        )
        for folder, (kind, keys) in missing.items()
    ]


def _datasets(node: Any, where: str) -> list[tuple[str, dict[str, Any]]]:
    """Every data set below a data loader, wrappers opened, with its key path."""
    if not isinstance(node, dict):
        return []
    found = [(where, node)] if 'data_root' in node or 'data_prefix' in node else []
    for key in ('dataset', 'datasets'):
        inner = node.get(key)
        for index, child in enumerate(inner if isinstance(inner, (list, tuple)) else [inner]):
            found += _datasets(child, f'{where}.{key}' + (f'.{index}' if isinstance(inner, (list, tuple)) else ''))
    return found


def _folders(dataset: dict[str, Any]) -> list[Path]:
    """The first folder that must exist for a data set: its root, or else its prefixes."""
    root = dataset.get('data_root') or ''
    prefix = dataset.get('data_prefix') or ''
    prefixes = list(prefix.values()) if isinstance(prefix, dict) else [prefix]
    names = [root] if root else [name for name in prefixes if isinstance(name, str) and name]
    return [Path(name).expanduser() for name in names if '://' not in name]
