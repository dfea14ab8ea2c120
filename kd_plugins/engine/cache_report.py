"""What a teacher cache will take, what it holds, and whether it still says what the teacher says."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from kd_plugins.engine.cache_job import prepare_job, refuse_other
from kd_plugins.engine.cache_plan import CacheOptions
from kd_plugins.engine.cache_writing import batches_of, worst_differences
from kd_plugins.errors import Fault, UserError
from kd_plugins.teacher.cache import Manifest, ShardFiles, read_manifest

# batches that are timed for an estimate, after one that is not
TIMED = 4


def describe_cache(manifest: Manifest, folder: Path) -> str:
    """Rows, arrays and size of a cache, as lines."""
    files = ShardFiles(folder, manifest, '--out')
    lines = [f'rows    {manifest.rows} = {manifest.samples} samples x {manifest.views} views (seed {manifest.seed})']
    for array in manifest.arrays:
        part = array.parts[-1]
        stored = f'{part.shape} {part.dtype}'
        if array.classes:
            stored = f'the {array.parts[0].shape[0]} largest of {array.classes} classes, {part.dtype}'
        lines.append(f'array   {array.name}: {stored}')
    return '\n'.join([*lines, f'size    {readable_bytes(files.total_size())} in {manifest.shards} shards'])


def estimate(config: Any, folder: Path, options: CacheOptions) -> str:
    """What a cache will take; nothing is written.

    Args:
        config: As for :func:`cache_teacher`.
        folder: As for :func:`cache_teacher`.
        options: As for :func:`cache_teacher`.

    Returns:
        Lines with the size, the free disk and the time.

    Raises:
        UserError: The teacher cannot be cached.
    """
    job = prepare_job(config, folder, options)
    batches = [batch for shard in range(job.manifest.shards) for batch in batches_of(job.manifest, shard)][: TIMED + 1]
    start, rows = time.perf_counter(), 0
    for number, (batch, _) in enumerate(zip(batches, job.teacher.answers(batches), strict=True)):
        if number == 0 and len(batches) > 1:
            # the first one waits for the workers and chooses algorithms
            start = time.perf_counter()
            continue
        rows += len(batch)
    rate = rows / (time.perf_counter() - start)
    free = shutil.disk_usage(existing_part(folder)).free
    seconds = job.manifest.rows / rate
    return '\n'.join(
        [
            describe_cache(job.manifest, folder),
            f'free    {readable_bytes(free)} at {folder}',
            f'time    {_duration(seconds)} in one process, at {rate:.0f} rows a second ({rows} rows timed)',
        ]
    )


def verify(config: Any, folder: Path, options: CacheOptions, count: int) -> str:
    """Recompute rows of a cache and compare.

    Args:
        config: As for :func:`cache_teacher`.
        folder: Of the cache.
        options: As for :func:`cache_teacher`; what the cache was written with by default.
        count: Number of rows.

    Returns:
        A line per array with the worst difference.

    Raises:
        UserError: There is no such cache, it is not complete or not of this config, or a difference is larger than the
            dtype allows.
    """
    written = read_manifest(folder, '--out')
    if not written.complete:
        raise UserError(
            Fault('--out', 'a complete cache', f'{folder}, which is not', 'write the rest without --verify')
        )
    job = prepare_job(config, folder, _options_of(written, options))
    refuse_other(written, job.manifest, folder)
    job.files.check()
    lines, faults = [], []
    for array, worst, allowed in worst_differences(job.teacher, job.files, count):
        line = f'{array.name}: worst difference {worst:.3g}, {array.parts[-1].dtype} allows {allowed:.3g}'
        lines.append(line)
        if not worst <= allowed:
            advice = 'write the cache anew into another folder'
            faults.append(
                Fault(f'--verify ({array.name})', f'a difference up to {allowed:.3g}', f'{worst:.3g}', advice)
            )
    if faults:
        raise UserError(*faults)
    return '\n'.join(lines)


def existing_part(folder: Path) -> Path:
    """A folder, or the nearest one above it that exists.

    Args:
        folder: The folder.
    """
    return next(part for part in (folder, *folder.absolute().parents) if part.exists())


def readable_bytes(count: float) -> str:
    """A number of bytes in the unit that suits it.

    Args:
        count: Of bytes.
    """
    for unit in ('B', 'kB', 'MB', 'GB'):
        if count < 1000:
            return f'{count:.3g} {unit}'
        count /= 1000
    return f'{count:.4g} TB'


def _duration(seconds: float) -> str:
    whole = round(seconds)
    return f'{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}'


def _options_of(written: Manifest, options: CacheOptions) -> CacheOptions:
    """What a cache was written with, where the options say nothing else."""
    arrays = written.arrays
    return CacheOptions(
        views=written.views if options.views is None else options.views,
        seed=written.seed if options.seed is None else options.seed,
        dtype=next((array.parts[-1].dtype for array in arrays if 'float' in array.parts[-1].dtype), options.dtype),
        top_k=next((array.parts[0].shape[0] for array in arrays if array.classes), None),
        batch=written.batch,
    )
