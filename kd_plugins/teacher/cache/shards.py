"""The files of a teacher cache: plain ``.npy``, each a fixed range of rows."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kd_plugins.durable import durable_file
from kd_plugins.errors import Fault, UserError
from kd_plugins.teacher.cache.manifest import Manifest, Part

# files that are open at a time; a process may have 1024 by default
OPEN_FILES = 256


class ShardFiles:
    """Reads and writes the shards of a cache.

    Args:
        folder: Of the cache.
        manifest: Of the cache.
        where: Key path or option that named the folder.
    """

    def __init__(self, folder: Path, manifest: Manifest, where: str) -> None:
        self.folder = folder
        self.manifest = manifest
        self.where = where
        self.parts = [part for array in manifest.arrays for part in array.parts]
        self._open: OrderedDict[Path, np.ndarray] = OrderedDict()

    def path(self, part: Part, shard: int) -> Path:
        """Where a shard is."""
        return self.folder / part.folder / f'{shard:05}.npy'

    def size(self, part: Part, shard: int) -> int:
        """Bytes of a shard's file."""
        rows = len(self.manifest.rows_of(shard))
        header = io.BytesIO()
        shape = (rows, *part.shape)
        described = {'descr': np.lib.format.dtype_to_descr(np.dtype(part.dtype)), 'fortran_order': False}
        np.lib.format.write_array_header_1_0(header, {**described, 'shape': shape})
        return header.tell() + rows * part.row_bytes

    def total_size(self) -> int:
        """Bytes of all shards."""
        last = self.manifest.shards - 1
        return sum(self.size(part, 0) * last + self.size(part, last) for part in self.parts)

    def missing(self) -> list[int]:
        """The shards of which a file is not there or has another size, as after a kill or a full disk."""
        shards = range(self.manifest.shards)
        return [shard for shard in shards if any(self._fault(part, shard) for part in self.parts)]

    def check(self) -> None:
        """Refuse a cache of which files are missing or cut off.

        Raises:
            UserError: With the first of them, and their number.
        """
        faults = [
            fault for part in self.parts for shard in range(self.manifest.shards) if (fault := self._fault(part, shard))
        ]
        if faults:
            more = f', and {len(faults) - 1} more' if len(faults) > 1 else ''
            advice = 'run tools/cache_teacher.py again with the same arguments: it writes what is missing'
            raise UserError(Fault(self.where, 'a cache with all its files', faults[0] + more, advice))

    def write(self, shard: int, columns: Sequence[np.ndarray]) -> None:
        """Write a shard of every part; each file is there as a whole or not at all.

        Args:
            shard: Its number.
            columns: By part, its rows.

        Raises:
            UserError: The disk is full, or cannot be written.
        """
        for part, column in zip(self.parts, columns, strict=True):
            path = self.path(part, shard)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with durable_file(path) as file:
                    np.lib.format.write_array(file, np.ascontiguousarray(column), version=(1, 0), allow_pickle=False)
            except OSError as error:
                advice = 'make room, and run it again: it goes on with what is missing'
                raise UserError(Fault(self.where, 'a disk that can be written', f'{path} ({error})', advice)) from error

    def gather(self, part: Part, rows: np.ndarray, out: np.ndarray) -> None:
        """Copy rows of a part.

        Args:
            part: Which.
            rows: Their numbers, (n).
            out: Where they go, (n, *shape).
        """
        shards, places = np.divmod(rows, self.manifest.rows_per_shard)
        for shard in np.unique(shards):
            chosen = np.flatnonzero(shards == shard)
            source = self._map(part, int(shard))
            if len(chosen) == len(rows):
                np.take(source, places, axis=0, out=out, mode='clip')
            elif part.row_bytes > 2**14:
                # large rows are copied once, not by way of an array of them
                for position in chosen:
                    out[position] = source[places[position]]
            else:
                out[chosen] = source[places[chosen]]

    def _map(self, part: Part, shard: int) -> np.ndarray:
        path = self.path(part, shard)
        mapped = self._open.pop(path, None)
        if mapped is None:
            mapped = self._load(path, part, shard)
            if len(self._open) >= OPEN_FILES:
                self._open.popitem(last=False)
        self._open[path] = mapped
        return mapped

    def _load(self, path: Path, part: Part, shard: int) -> np.ndarray:
        advice = 'copy the cache again, or remove the file and run tools/cache_teacher.py again'
        try:
            # a plain array of the mapped memory: memmap's own indexing is slow
            mapped = np.asarray(np.load(path, mmap_mode='r', allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            got = f'{path}, which cannot be read ({error})'
            raise UserError(Fault(self.where, 'a file of the cache', got, advice)) from error
        expected = (len(self.manifest.rows_of(shard)), *part.shape)
        if mapped.shape != expected or mapped.dtype != np.dtype(part.dtype):
            got = f'{mapped.dtype} {mapped.shape} in {path}'
            raise UserError(Fault(self.where, f'{part.dtype} {expected}', got, advice))
        return mapped

    def _fault(self, part: Part, shard: int) -> str:
        path, expected = self.path(part, shard), self.size(part, shard)
        try:
            size = path.stat().st_size
        except OSError:
            return f'{path} is missing'
        return '' if size == expected else f'{path} has {size} bytes instead of {expected}'
