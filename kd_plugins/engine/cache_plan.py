"""What writing a teacher cache takes: the teacher, the views, and how its records are stored."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from mmengine.registry import FUNCTIONS
from torch.utils.data import DataLoader

from kd_plugins.datasets import ReplayedViews
from kd_plugins.errors import Fault, UserError
from kd_plugins.teacher.cache import Array, Part, Use, uses_of

# of a file of the largest record, in bytes
SHARD_BYTES = 2**26
# at least as many shards, so that several processes can share them
SHARDS = 16
PREDICTIONS = 'preds_T'


@dataclass(frozen=True)
class CacheOptions:
    """What is cached, and how.

    Attributes:
        views: Views of each sample; None for those of the config, or 4.
        seed: Of the views; None for that of the config, or 0.
        dtype: ``'float16'`` or ``'float32'``.
        top_k: Classes that are kept of logits; None for all.
        batch: Rows that the teacher sees at once; None for the batch size of the config.
    """

    views: int | None = None
    seed: int | None = None
    dtype: str = 'float16'
    top_k: int | None = None
    batch: int | None = None


class CachingTeacher:
    """Answers rows of a data set with the records that losses use, in float32.

    Args:
        algorithm: Whose teacher it is.
        dataset: The views.
        loader: Config of the data loader of the training.
        device: Where the teacher runs.
    """

    def __init__(self, algorithm: Any, dataset: ReplayedViews, loader: Any, device: torch.device) -> None:
        self.algorithm = algorithm.to(device).eval()
        self.dataset = dataset
        self.uses = uses_of(algorithm.distiller, algorithm.teacher)
        self._workers = int(loader.get('num_workers', 0))
        self._collate = _collate_of(loader.get('collate_fn'))

    def answers(self, batches: Sequence[Sequence[int]]) -> Iterator[list[Any]]:
        """Load batches of rows, by as many workers as in training, and run the teacher on them.

        Args:
            batches: Rows of each.

        Yields:
            By record, what the teacher answered to a batch.
        """
        workers = min(self._workers, len(batches))
        loader: Any = DataLoader(
            self.dataset,  # type: ignore[arg-type]
            batch_sampler=batches,  # type: ignore[arg-type]
            num_workers=workers,
            collate_fn=self._collate,
        )
        for batch in loader:
            yield self._answer(batch)

    @torch.no_grad()
    def _answer(self, batch: Any) -> list[Any]:
        with exact_arithmetic():
            data = self.algorithm.data_preprocessor(batch, True)
            for forward in self.algorithm.teacher_forwards():
                forward.run(data['inputs'], data['data_samples'])
            records = self.algorithm.distiller.teacher_recorders.pop()
        found = []
        for use in self.uses:
            spec = use.specs[0]
            try:
                found.append(spec.pick(records[spec.recorder]))
            except UserError as error:
                raise error.within(f'model.distiller.{spec.where}') from error
        return found


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Inside, a GPU computes float32 as such, and always in the same way."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32
    try:
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = False, True, False, False
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = before


def plan_arrays(teacher: CachingTeacher, options: CacheOptions, batch: int) -> tuple[Array, ...]:
    """Look at the records of two batches, and decide how each is stored.

    Args:
        teacher: Answers.
        options: What the user wants.
        batch: Rows of a batch.

    Raises:
        UserError: A record has no row per sample, or ``--top-k`` fits none of them.
    """
    sizes = [min(batch, teacher.dataset.rows)]
    # two sizes tell what is a row from what is not
    sizes += [size for size in (sizes[0] // 2 + 1,) if size < sizes[0]]
    answers = list(teacher.answers([range(size) for size in sizes]))
    arrays: list[Array] = []
    for index, use in enumerate(teacher.uses):
        found = [answer[index] for answer in answers]
        for size, record in zip(sizes, found, strict=True):
            check_record(use, record, size, None)
        name = re.sub(r'\W+', '_', str(use.record.get('source', 'record'))).strip('_') or 'record'
        arrays.append(_array_of(use, found[0], f'{index:02}_{name}', options))
    if not arrays:
        advice = 'a cache saves nothing here: train without'
        raise UserError(Fault('model.distiller', 'losses that use records of the teacher', 'none', advice))
    if options.top_k is not None and not any(array.classes for array in arrays):
        advice = 'leave it out: only logits (N, C) that feed no other argument are stored by their largest classes'
        raise UserError(Fault('--top-k', f'a record that feeds {PREDICTIONS} alone', 'none', advice))
    return tuple(arrays)


def check_record(use: Use, record: Any, rows: int, shape: tuple[int, ...] | None) -> None:
    """Refuse a record that cannot be stored by rows.

    Args:
        use: Of it.
        record: What the recorder gave.
        rows: Of the batch.
        shape: Of a row, where it is known.

    Raises:
        UserError: It is no tensor, its first dimension is not the batch, or its rows have another shape.
    """
    where = f'model.distiller.{use.specs[0].where}'
    if not isinstance(record, torch.Tensor):
        advice = 'choose an element of it with data_idx'
        raise UserError(Fault(where, 'a record that is a tensor', f'a {type(record).__name__}', advice))
    if record.dim() == 0 or len(record) != rows:
        expected = 'a record with a row per sample, so that it can be cached'
        got = f'{tuple(record.shape)} for a batch of {rows}'
        raise UserError(Fault(where, expected, got, 'choose another source, or train without a cache'))
    if shape is not None and tuple(record.shape[1:]) != shape:
        got = f'{tuple(record.shape[1:])} after {shape}'
        advice = 'have the pipeline give all images one size'
        raise UserError(Fault(where, 'a record whose rows have one shape in all batches', got, advice))


def rows_per_shard(arrays: Sequence[Array], rows: int, batch: int) -> int:
    """Rows of a file: whole batches, about :data:`SHARD_BYTES` of the largest record, :data:`SHARDS` files or more."""
    largest = max(part.row_bytes for array in arrays for part in array.parts)
    wanted = min(SHARD_BYTES // max(largest, 1), -(-rows // SHARDS))
    return max(-(-wanted // batch), 1) * batch


def _array_of(use: Use, record: torch.Tensor, folder: str, options: CacheOptions) -> Array:
    shape = tuple(record.shape[1:])
    dtype = options.dtype if record.is_floating_point() else str(record.dtype).removeprefix('torch.')
    if options.top_k is None or set(use.arguments) != {PREDICTIONS} or len(shape) != 1:
        return Array(use.record, (Part(folder, shape, dtype),))
    count = options.top_k
    if not 0 < count < shape[0]:
        advice = 'leave it out to store all classes'
        raise UserError(Fault('--top-k', f'a number from 1 to {shape[0] - 1}', str(count), advice))
    numbers = 'uint16' if shape[0] <= 2**16 else 'int32'
    parts = Part(f'{folder}.classes', (count,), numbers), Part(f'{folder}.log_probabilities', (count + 1,), dtype)
    return Array(use.record, parts, shape[0])


def _collate_of(config: Any) -> Any:
    """The function that makes a batch, as the Runner finds it."""
    if callable(config):
        return config
    config = dict(config or dict(type='pseudo_collate'))
    kind = config.pop('type')
    return partial(FUNCTIONS.get(kind) if isinstance(kind, str) else kind, **config)
