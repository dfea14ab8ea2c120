"""Writing a teacher cache, by as many processes as were launched."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, get_dist_info, is_main_process
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kd_plugins.engine.cache_check import on_first_process
from kd_plugins.engine.cache_job import Job, prepare_job, refuse_other
from kd_plugins.engine.cache_plan import CacheOptions
from kd_plugins.engine.cache_report import existing_part, readable_bytes
from kd_plugins.engine.cache_writing import write_shards
from kd_plugins.errors import Fault, UserError
from kd_plugins.teacher.cache import MANIFEST, Manifest, read_manifest, write_manifest

# of the disk, beside the arrays
MARGIN = 2**20


def cache_teacher(config: Any, folder: str | Path, options: CacheOptions | None = None) -> Manifest:
    """Write the teacher's records of all views of the training data, or what is missing of them.

    Each process that was launched takes its share of the shards.

    Args:
        config: The whole config, of :func:`kd_plugins.engine.config.load_config`; it is not changed.
        folder: Of the cache.
        options: What is cached, and how.

    Returns:
        What was written.

    Raises:
        UserError: The teacher cannot be cached, the folder holds something else, or the disk is too small; nothing is
            written then. A record turns out not to fit; what was written so far stays then, marked as incomplete.
    """
    job = prepare_job(config, Path(folder), options or CacheOptions())
    missing = on_first_process(lambda: _begin(job))
    rank, processes = get_dist_info()
    own = missing[rank::processes]
    if missing:
        with _progress(sum(len(job.manifest.rows_of(shard)) for shard in own)) as done:
            write_shards(job.teacher, job.files, own, done)
    barrier()
    return on_first_process(lambda: _end(job))


def _begin(job: Job) -> list[int]:
    """Claim the folder; returns the shards that are missing."""
    folder = job.files.folder
    if (folder / MANIFEST).exists():
        refuse_other(read_manifest(folder, '--out'), job.manifest, folder)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        got, advice = f'{folder}, which holds something else', 'choose another with --out'
        raise UserError(Fault('--out', 'a folder that is empty or holds a teacher cache', got, advice))
    missing = job.files.missing()
    needed = sum(job.files.size(part, shard) for shard in missing for part in job.files.parts) + MARGIN
    free = shutil.disk_usage(existing_part(folder)).free
    if missing and needed > free:
        advice = 'choose another with --out, or store less: --dtype float16, --top-k, fewer --views'
        raise UserError(
            Fault('--out', f'a disk with {readable_bytes(needed)} free', f'{readable_bytes(free)} at {folder}', advice)
        )
    if missing:
        _write_manifest(folder, job.manifest)
    return missing


def _end(job: Job) -> Manifest:
    job.files.check()
    manifest = replace(job.manifest, complete=True)
    _write_manifest(job.files.folder, manifest)
    for leftover in job.files.folder.glob('*/*.npy.tmp'):
        leftover.unlink()
    return manifest


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    try:
        write_manifest(folder, manifest)
    except OSError as error:
        got, advice = f'{folder} ({error})', 'make room and run it again, or choose another'
        raise UserError(Fault('--out', 'a folder that can be written', got, advice)) from error


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal of the first process; in a pipe, a line per tenth."""
    console = Console(stderr=True)
    if is_main_process() and console.is_terminal:
        columns = TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=console) as progress:
            task = progress.add_task('rows of this process', total=total)
            yield lambda rows: progress.advance(task, rows)
        return
    seen = 0

    def tell(rows: int) -> None:
        nonlocal seen
        tenth, seen = 10 * seen // total, seen + rows
        if is_main_process() and 10 * seen // total > tenth:
            print(f'{seen} of {total} rows', file=sys.stderr, flush=True)

    yield tell
