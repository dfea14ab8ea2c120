"""Writes what is missing of a teacher cache, and recomputes rows of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kd_plugins.engine.cache_plan import CachingTeacher, check_record
from kd_plugins.errors import Fault, UserError
from kd_plugins.teacher.cache import Array, Manifest, ShardFiles, encode, recode

# largest difference to what was stored, as a share of the largest value: rounding to the dtype, and that of a teacher
# who sees the row in another batch
TOLERANCES = {'float16': 2**-10, 'float32': 1e-4, 'float64': 1e-4}


def write_shards(
    teacher: CachingTeacher, files: ShardFiles, shards: Sequence[int], done: Callable[[int], None]
) -> None:
    """Compute shards and write them, one after the other.

    Each is computed in batches that begin at its first row, so that it is the same whichever process writes it.

    Args:
        teacher: Answers.
        files: Where they go.
        shards: Their numbers.
        done: Called after each batch with the number of its rows.

    Raises:
        UserError: A record changes its shape, or has a value that does not fit the dtype.
    """
    manifest = files.manifest
    answers = teacher.answers([batch for shard in shards for batch in batches_of(manifest, shard)])
    for shard in shards:
        rows = manifest.rows_of(shard)
        columns = [np.empty((len(rows), *part.shape), part.dtype) for part in files.parts]
        for batch in batches_of(manifest, shard):
            place = slice(batch.start - rows.start, batch.stop - rows.start)
            encoded = _encode(teacher, manifest.arrays, next(answers), len(batch))
            for column, values in zip(columns, encoded, strict=True):
                column[place] = values
            done(len(batch))
        files.write(shard, columns)


def batches_of(manifest: Manifest, shard: int) -> list[range]:
    """The rows of a shard in the batches that the teacher sees."""
    rows = manifest.rows_of(shard)
    return [rows[start : start + manifest.batch] for start in range(0, len(rows), manifest.batch)]


def worst_differences(teacher: CachingTeacher, files: ShardFiles, count: int) -> list[tuple[Array, float, float]]:
    """Recompute rows of a cache.

    Args:
        teacher: Answers.
        files: Of the cache.
        count: Number of rows, spread over all of them, each drawn in its part of the cache with the seed of the views.

    Returns:
        By array, the largest difference of a stored value to the recomputed one, and what the dtype allows.

    Raises:
        UserError: A record has another shape than what is stored.
    """
    manifest = files.manifest
    edges = np.linspace(0, manifest.rows, min(count, manifest.rows) + 1).astype(np.int64)
    rows = np.random.default_rng(manifest.seed).integers(edges[:-1], edges[1:])
    batches = [rows[start : start + manifest.batch] for start in range(0, len(rows), manifest.batch)]
    found = [[0.0, 0.0] for _ in manifest.arrays]
    for batch, answer in zip(batches, teacher.answers([batch.tolist() for batch in batches]), strict=True):
        for array, use, record, worst in zip(manifest.arrays, teacher.uses, answer, found, strict=True):
            check_record(use, record, len(batch), _shape_of(array))
            stored = [np.empty((len(batch), *part.shape), part.dtype) for part in array.parts]
            for part, values in zip(array.parts, stored, strict=True):
                files.gather(part, batch, values)
            fresh = recode(array, record, stored).astype(np.float64)
            # infinities may be equal, and have no difference
            apart = np.where(stored[-1] == fresh, 0, np.abs(stored[-1] - fresh))
            worst[0] = max(worst[0], float(np.nan_to_num(apart, nan=np.inf).max(initial=0)))
            worst[1] = max(worst[1], float(np.abs(fresh).max(initial=0)))
    return [
        (array, worst, TOLERANCES.get(array.parts[-1].dtype, 0) * largest)
        for array, (worst, largest) in zip(manifest.arrays, found, strict=True)
    ]


def _encode(teacher: CachingTeacher, arrays: Sequence[Array], answer: list[Any], rows: int) -> list[np.ndarray]:
    encoded = []
    for array, use, record in zip(arrays, teacher.uses, answer, strict=True):
        check_record(use, record, rows, _shape_of(array))
        try:
            encoded += encode(array, record)
        except UserError as error:
            raise UserError(
                *(
                    Fault(fault.where, fault.expected, f'{fault.got} ({use.specs[0].where})', fault.advice)
                    for fault in error.faults
                )
            ) from error
    return encoded


def _shape_of(array: Array) -> tuple[int, ...]:
    """Of one row of the record."""
    return array.parts[0].shape if array.classes is None else (array.classes,)
