"""A teacher cache as an algorithm reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kd_plugins.errors import Fault, UserError
from kd_plugins.teacher.cache.coding import decode
from kd_plugins.teacher.cache.fingerprint import differences, shorten, teacher_fingerprint
from kd_plugins.teacher.cache.manifest import Array, Manifest, read_manifest
from kd_plugins.teacher.cache.records import Use, uses_of
from kd_plugins.teacher.cache.shards import ShardFiles

WHERE = 'model.teacher_cache'
# as ReplayedViews of kd_plugins.datasets writes it
ROW = 'teacher_row'


class TeacherCache:
    """Reads the records of a teacher that ``tools/cache_teacher.py`` wrote.

    Nothing is opened before a row is asked for: evaluation needs no cache.

    Args:
        folder: Of the cache.

    Attributes:
        checked: Whether it was held against the teacher of a training; if not, the first read does it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = folder
        self.checked = False
        # by the key of a record, its array; filled when a distiller asks first
        self._arrays: dict[tuple[Any, ...], Array] = {}

    @cached_property
    def manifest(self) -> Manifest:
        """What the cache says about itself.

        Raises:
            UserError: There is no cache, or it is not complete.
        """
        manifest = read_manifest(self.folder, WHERE)
        if not manifest.complete:
            advice = 'run tools/cache_teacher.py again with the same arguments: it writes what is missing'
            raise UserError(Fault(WHERE, 'a complete cache', f'{self.folder}, which is being written', advice))
        return manifest

    @cached_property
    def files(self) -> ShardFiles:
        """Its files, all of them there.

        Raises:
            UserError: Files are missing or cut off.
        """
        files = ShardFiles(Path(self.folder), self.manifest, WHERE)
        files.check()
        return files

    def check(self, fingerprint: Mapping[str, Any], uses: Sequence[Use]) -> None:
        """Refuse a cache that is not of this teacher, these data or these libraries.

        Args:
            fingerprint: Of what is about to be trained; parts that it leaves out are not compared.
            uses: The records that its losses use.

        Raises:
            UserError: A fault per part that differs, with both values; or files are missing or cut off.
        """
        found = differences(self.manifest.fingerprint, fingerprint)
        records = [array.record for array in self.manifest.arrays]
        for use in uses:
            if use.record not in records:
                got = f'{shorten(dict(use.record))} for {use.specs[0].where}'
                found.append(('records', ', '.join(shorten(dict(record)) for record in records), got))
        if found:
            advice = 'train with what was cached, or write another: python tools/cache_teacher.py CONFIG --out DIR'
            raise UserError(
                *(Fault(f'{WHERE} ({part})', f'{cached}, as cached', got, advice) for part, cached, got in found)
            )
        _ = self.files
        self.checked = True

    def records(self, algorithm: Any, samples: Any, device: torch.device) -> dict[tuple[Any, ...], torch.Tensor]:
        """What the teacher said to the samples of a batch.

        Args:
            algorithm: Whose losses use it.
            samples: Data samples of ``ReplayedViews``.
            device: Where the records go.

        Returns:
            By the key of a record, (rows, *shape).

        Raises:
            UserError: The samples are not of ``ReplayedViews``, or the cache is not of this teacher.
        """
        if not self._arrays:
            self._bind(algorithm)
        rows = self._rows_of(samples)
        read = {id(array): self.read(array, rows, device) for array in self._arrays.values()}
        return {key: read[id(array)] for key, array in self._arrays.items()}

    def read(self, array: Array, rows: np.ndarray, device: torch.device) -> torch.Tensor:
        """Read rows of an array: one gather from the mapped files, and one copy to the device.

        Args:
            array: Which.
            rows: Their numbers, (n).
            device: Where they go.

        Returns:
            (n, *shape), as the losses get it.
        """
        return decode(array, [self._read_part(array, index, rows, device) for index in range(len(array.parts))])

    def _read_part(self, array: Array, index: int, rows: np.ndarray, device: torch.device) -> torch.Tensor:
        part = array.parts[index]
        dtype = getattr(torch, part.dtype)
        # a copy from pinned memory does not wait
        gathered = torch.empty((len(rows), *part.shape), dtype=dtype, pin_memory=device.type == 'cuda')
        self.files.gather(part, rows, gathered.numpy())
        if array.classes is not None and index == 0:
            gathered = gathered.long()
        return gathered.to(device, non_blocking=True)

    def _bind(self, algorithm: Any) -> None:
        uses = uses_of(algorithm.distiller, algorithm.teacher)
        if not self.checked:
            self.check(teacher_fingerprint(algorithm), uses)
        for use in uses:
            array = next(array for array in self.manifest.arrays if array.record == use.record)
            self._arrays.update((spec.key, array) for spec in use.specs)

    def _rows_of(self, samples: Any) -> np.ndarray:
        rows = [getattr(sample, ROW, None) for sample in samples] if isinstance(samples, (list, tuple)) else [None]
        if any(row is None for row in rows):
            advice = "start it with tools/train.py, or write dataset=dict(type='kd_plugins.ReplayedViews', dataset=…)"
            got = 'others: a cached record belongs to one augmented view of a sample'
            raise UserError(Fault('train_dataloader.dataset', 'data samples of ReplayedViews', got, advice))
        numbers = np.asarray(rows, dtype=np.int64)
        if numbers.min(initial=0) < 0 or numbers.max(initial=0) >= self.manifest.rows:
            got = f'row {numbers.max()}'
            advice = 'train with as many samples and views as were cached'
            raise UserError(Fault('train_dataloader.dataset', f'rows below {self.manifest.rows}', got, advice))
        return numbers

    def __deepcopy__(self, memo: dict[int, Any]) -> TeacherCache:
        return self
