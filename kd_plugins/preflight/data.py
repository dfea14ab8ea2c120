"""Are the data where the config says?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS

from kd_plugins.build import FALLBACK_SCOPE, is_registered, parameters_of
from kd_plugins.errors import Fault

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# who gives out the data, by class of the data set; a class of the user's own that inherits from one is one
SOURCES = {
    'CIFAR10': 'https://www.cs.toronto.edu/~kriz/cifar.html',
    'CIFAR100': 'https://www.cs.toronto.edu/~kriz/cifar.html',
    'ImageNet': 'https://image-net.org/challenges/LSVRC/2012/',
}


@dataclass(frozen=True)
class _Lack:
    """What a data set lacks: the parts of a fault that do not depend on the data loader."""

    expected: str
    got: str
    advice: str


def data_faults(config: Any, loaders: tuple[str, ...] = LOADERS) -> list[Fault]:
    """Look for the folder of each data set, without listing it; of CIFAR and ImageNet for what is in it too.

    The files of CIFAR have to be the official ones, by their MD5: others would be downloaded anew.

    Args:
        config: The whole config.
        loaders: The data loaders to look at.

    Returns:
        A fault per missing folder, or per data set whose files are missing or damaged.
    """
    scope = config.get('default_scope') or FALLBACK_SCOPE
    lacking: dict[_Lack, list[str]] = {}
    for loader in loaders:
        for where, dataset, inner in _datasets(config.get(loader), loader, scope):
            if dataset.get('download') is not True:
                key = 'data_root' if dataset.get('data_root') else 'data_prefix'
                for lack in _lacks(dataset, _class_of(dataset, inner)):
                    lacking.setdefault(lack, []).append(f'{where}.{key}')
    return [
        Fault(
            keys[0],
            lack.expected,
            lack.got,
            f'{lack.advice}, or give their place: --cfg-options {" ".join(f"{key}=DIR" for key in keys)}'
            ' (where the data set can fetch itself, set download=True)',
        )
        for lack, keys in lacking.items()
    ]


def forbid_downloads(config: Any) -> None:
    """Let no data set download itself unless the config says ``download=True``; mmpretrain's would without being asked.

    Args:
        config: The whole config, whose data sets are changed.
    """
    scope = config.get('default_scope') or FALLBACK_SCOPE
    for loader in LOADERS:
        for _, dataset, inner in _datasets(config.get(loader), loader, scope):
            kind = _class_of(dataset, inner)
            if kind is not None and 'download' in (parameter.name for parameter in parameters_of(kind)[0]):
                dataset.setdefault('download', False)


def _datasets(node: Any, where: str, scope: str) -> list[tuple[str, dict[str, Any], str]]:
    """Every data set below a data loader, wrappers opened, with its key path and its scope."""
    if not isinstance(node, dict):
        return []
    scope = node.get('_scope_', scope)
    found = [(where, node, scope)] if 'data_root' in node or 'data_prefix' in node else []
    for key in ('dataset', 'datasets'):
        inner = node.get(key)
        for index, child in enumerate(inner if isinstance(inner, (list, tuple)) else [inner]):
            place = f'{where}.{key}' + (f'.{index}' if isinstance(inner, (list, tuple)) else '')
            found += _datasets(child, place, scope)
    return found


def _class_of(dataset: dict[str, Any], scope: str) -> Any:
    """The class of a data set; None for a type that does not exist."""
    kind = dataset.get('type')
    if not isinstance(kind, str):
        return kind if isinstance(kind, type) else None
    with DATASETS.switch_scope_and_registry(scope) as registry:
        return registry.get(kind) if is_registered(registry, kind) else None


def _lacks(dataset: dict[str, Any], kind: Any) -> Iterator[_Lack]:
    # a class of the user's own may have the name alone
    known = {
        base.__name__ for base in getattr(kind, '__mro__', ()) if base.__module__.startswith('mmpretrain.')
    } & SOURCES.keys()
    folders = _folders(dataset)
    if hasattr(kind, 'file_of'):
        yield from _lacks_of_svhn(dataset, kind)
        return
    if known and 'ImageNet' not in known:
        prefix = dataset.get('data_prefix') if dataset.get('data_root') else ''
        for folder in folders:
            yield from _lacks_of_cifar(folder / prefix if isinstance(prefix, str) else folder, kind)
        return
    advice = 'put the data there'
    if known:
        split = 'train and val, each with a folder of JPEG files for each class'
        advice = f'download the images of ILSVRC 2012 from {SOURCES["ImageNet"]} and unpack them there: {split}'
    for folder in folders:
        if not folder.is_dir():
            yield _Lack(f'the folder of the {dataset.get("type")} data', f'{folder}, which does not exist', advice)
        elif known:
            for part in _parts_of_imagenet(dataset, folder):
                if not part.exists():
                    yield _Lack('the images of ImageNet and their lists', f'{part}, which does not exist', advice)


def _lacks_of_svhn(dataset: dict[str, Any], kind: Any) -> Iterator[_Lack]:
    split = dataset.get('split', 'train')
    path = kind.file_of(dataset.get('data_root') or '', split)
    # another split is refused by the data set itself
    if split in kind.SPLITS and not path.is_file():
        advice = f'download {path.name} from {kind.SOURCE} and put it there'
        yield _Lack(f'{path.name} of {dataset.get("type")}', f'{path}, which does not exist', advice)


def _lacks_of_cifar(root: Path, kind: Any) -> Iterator[_Lack]:
    folder = root / kind.base_folder
    files = [(folder / name, digest) for name, digest in kind.train_list + kind.test_list]
    missing = [path.name for path, _ in files if not path.is_file()]
    expected = f'the files of {kind.__name__}, {", ".join(path.name for path, _ in files)}'
    source = next(SOURCES[base.__name__] for base in kind.__mro__ if base.__name__ in SOURCES)
    advice = f'download {kind.filename} from {source} and unpack it in {root}'
    if missing:
        more = f', nor {", ".join(missing[1:])}' if len(missing) > 1 else ''
        yield _Lack(expected, f'{folder / missing[0]}, which does not exist{more}', advice)
        return
    for path, digest in files:
        if digest and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != digest:
            yield _Lack(expected, f'{path}, which is damaged: its MD5 is not {digest}', advice)
            return


def _parts_of_imagenet(dataset: dict[str, Any], root: Path) -> Iterator[Path]:
    """Folder of the images and list of them, as far as the config names them below the root."""
    prefix = dataset.get('data_prefix') or dataset.get('split') or ''
    prefix = prefix.get('img_path', '') if isinstance(prefix, dict) else prefix
    for part in (prefix, dataset.get('ann_file') or ''):
        if dataset.get('data_root') and isinstance(part, str) and part and '://' not in part:
            yield root / part


def _folders(dataset: dict[str, Any]) -> list[Path]:
    """The first folder that must exist for a data set: its root, or else its prefixes."""
    root = dataset.get('data_root') or ''
    prefix = dataset.get('data_prefix') or ''
    prefixes = list(prefix.values()) if isinstance(prefix, dict) else [prefix]
    names = [root] if root else [name for name in prefixes if isinstance(name, str) and name]
    return [Path(name).expanduser() for name in names if '://' not in name]
