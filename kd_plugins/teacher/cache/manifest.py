"""What a teacher cache says about itself: its ``manifest.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kd_plugins.durable import durable_file
from kd_plugins.errors import Fault, UserError

MANIFEST = 'manifest.json'
FORMAT = 1
DTYPES = ('float16', 'float32', 'float64', 'uint8', 'uint16', 'int8', 'int16', 'int32', 'int64', 'bool')
HOW_TO_WRITE = 'write it: python tools/cache_teacher.py CONFIG'


@dataclass(frozen=True)
class Part:
    """One stored array: a folder of shards, each a ``.npy`` file of shape (rows, *shape).

    Attributes:
        folder: Its name.
        shape: Of one row.
        dtype: NumPy's name of it.
    """

    folder: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Array:
    """One cached record.

    Attributes:
        record: What was recorded: the recorder's type and arguments, ``record_idx`` and ``data_idx``.
        parts: One where the record is stored as it is. For top-k logits two: the K classes (K), and their
            log-probabilities with the logarithm of the rest's mass behind them (K + 1).
        classes: Number of the classes of top-k logits; None where the record is stored as it is.
    """

    record: Mapping[str, Any]
    parts: tuple[Part, ...]
    classes: int | None = None

    @property
    def name(self) -> str:
        """How a message calls it."""
        return str(self.record.get('source', self.parts[0].folder))


@dataclass(frozen=True)
class Manifest:
    """What a cache holds, and of what.

    Attributes:
        samples: Number of the samples, N.
        views: Views of each, K. There are N * K rows: ``row = view * N + index``.
        seed: Of the views.
        batch: Rows that the teacher saw at once.
        rows_per_shard: Rows in a file; the last one may have fewer.
        arrays: What is cached.
        fingerprint: By part, what the rows depend on.
        complete: Whether every shard is there.
    """

    samples: int
    views: int
    seed: int
    batch: int
    rows_per_shard: int
    arrays: tuple[Array, ...]
    fingerprint: Mapping[str, Any]
    complete: bool = False

    @property
    def rows(self) -> int:
        """Number of the rows, N * K."""
        return self.samples * self.views

    @property
    def shards(self) -> int:
        """Number of the shards of each stored array."""
        return -(-self.rows // self.rows_per_shard)

    def rows_of(self, shard: int) -> range:
        """The rows of a shard."""
        start = shard * self.rows_per_shard
        return range(start, min(start + self.rows_per_shard, self.rows))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a cache, at once or not at all.

    Args:
        folder: Of the cache; created if needed.
        manifest: What it says.
    """
    content = {'format': FORMAT, 'state': 'complete' if manifest.complete else 'writing', **asdict(manifest)}
    del content['complete']
    folder.mkdir(parents=True, exist_ok=True)
    with durable_file(folder / MANIFEST) as file:
        file.write(json.dumps(content, indent=1).encode())


def read_manifest(folder: str | Path, where: str) -> Manifest:
    """Read the manifest of a cache.

    Args:
        folder: Of the cache.
        where: Key path or option that named it.

    Raises:
        UserError: There is no cache, or its manifest is damaged or of another version of the format.
    """
    if not isinstance(folder, (str, Path)):
        raise UserError(Fault(where, 'the folder of a teacher cache', repr(folder), 'write its path as a string'))
    path = Path(folder) / MANIFEST
    if not path.is_file():
        got = f'{folder}, which has no {MANIFEST}' if Path(folder).is_dir() else f'{folder}, which does not exist'
        raise UserError(Fault(where, 'the folder of a teacher cache', got, HOW_TO_WRITE))
    try:
        content = json.loads(path.read_text())
        version = content.pop('format')
        if version != FORMAT:
            advice = 'write the cache anew into another folder: python tools/cache_teacher.py CONFIG --out DIR'
            raise UserError(Fault(where, f'a cache in format {FORMAT}', f'{folder}, in format {version}', advice))
        complete = content.pop('state') == 'complete'
        arrays = tuple(map(_array_of, content.pop('arrays')))
        manifest = Manifest(**content, arrays=arrays, complete=complete)
        _check_numbers(manifest)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        got = f'{path}, which cannot be read ({type(error).__name__}: {error})'
        advice = 'copy the cache again, or remove its folder and write it anew'
        raise UserError(Fault(where, 'the manifest of a teacher cache', got, advice)) from error
    return manifest


def _array_of(content: dict[str, Any]) -> Array:
    parts = tuple(Part(part['folder'], tuple(map(int, part['shape'])), part['dtype']) for part in content['parts'])
    for part in parts:
        # names come from a file: none may lead elsewhere
        if not re.fullmatch(r'\w[\w.-]*', part.folder) or part.dtype not in DTYPES or min((0, *part.shape)) < 0:
            raise ValueError(f'a part {part}')
    classes = content['classes']
    if not isinstance(content['record'], dict) or len(parts) != (1 if classes is None else 2):
        raise ValueError(f'an array {content}')
    return Array(content['record'], parts, None if classes is None else int(classes))


def _check_numbers(manifest: Manifest) -> None:
    for name in ('samples', 'views', 'batch', 'rows_per_shard'):
        if not isinstance(getattr(manifest, name), int) or getattr(manifest, name) < 1:
            raise ValueError(f'{name}={getattr(manifest, name)!r}')
