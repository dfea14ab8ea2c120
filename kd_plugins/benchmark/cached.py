"""The arm that is ours and reads the teacher from a cache."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from kd_plugins.benchmark.arm import LeftOut
from kd_plugins.benchmark.ours import step_of
from kd_plugins.benchmark.workload import Workload
from kd_plugins.engine.cache_plan import CacheOptions, CachingTeacher, plan_arrays
from kd_plugins.engine.cache_writing import write_shards
from kd_plugins.errors import UserError
from kd_plugins.teacher.cache import Manifest, ShardFiles, refusals, teacher_fingerprint, write_manifest

# as precise as the teacher itself: the arm has to have the loss of the others
DTYPE = 'float32'


class Rows(list[Any]):
    """The samples of the batch, as the views of a data set are asked for."""

    @property
    def rows(self) -> int:
        """How many."""
        return len(self)


def cached_step(workload: Workload) -> Callable[[], torch.Tensor]:
    """Our training step with the teacher's records of the batch on disk, in a folder that goes with the process.

    Args:
        workload: What is run.

    Raises:
        LeftOut: The teacher of the config cannot be cached.
    """
    folder = tempfile.TemporaryDirectory(prefix='benchmark_cache_')
    try:
        _write(workload, Path(folder.name))
    except UserError as error:
        fault = error.faults[0]
        raise LeftOut(f'{fault.where}: expected {fault.expected}, got {fault.got}') from error
    config = copy.deepcopy(workload.config)
    config.model.teacher_cache = folder.name
    algorithm = workload.algorithm(config)
    # the folder is there as long as what reads from it
    algorithm.cache_folder = folder
    return step_of(algorithm, workload)


def _write(workload: Workload, folder: Path) -> None:
    algorithm = workload.algorithm()
    faults = refusals(algorithm)
    if faults:
        raise UserError(*faults)
    loader = dict(collate_fn=workload.config.train_dataloader.get('collate_fn'))
    count = workload.setting.batch
    with workload.scope():
        rows: Any = Rows(workload.samples())
        teacher = CachingTeacher(algorithm, rows, loader, torch.device(workload.setting.device))
        arrays = plan_arrays(teacher, CacheOptions(dtype=DTYPE), count)
        manifest = Manifest(
            samples=count,
            views=1,
            seed=0,
            batch=count,
            rows_per_shard=count,
            arrays=arrays,
            fingerprint=teacher_fingerprint(algorithm),
            complete=True,
        )
        write_shards(teacher, ShardFiles(folder, manifest, 'cache'), range(manifest.shards), lambda done: None)
    write_manifest(folder, manifest)
