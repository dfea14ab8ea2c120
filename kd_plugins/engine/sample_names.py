"""Which samples are in a batch, in a form that a user can look for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

# what data samples may carry, the most telling first
KEYS = ('img_path', 'sample_idx', 'teacher_row')
MOST = 8


def sample_names(batch: Any, rows: Collection[int] = ()) -> str:
    """The samples of a batch as a few words.

    Args:
        batch: As a data loader gives it: a dict with ``inputs`` and perhaps ``data_samples``, or a sequence of both.
        rows: Places in the batch of those that are meant; none for all of them.

    Returns:
        How many there are and the names of the first ones: path, index in the data set, or place in the batch.
    """
    inputs, samples = _parts(batch)
    size = next((len(part) for part in (samples, inputs) if hasattr(part, '__len__')), 0)
    meant = [row for row in (rows or range(size)) if row < size]
    few = [_name(samples, row) for row in meant[:MOST]]
    names = ', '.join(few) + (', …' if len(meant) > MOST else '')
    return f'{len(meant)} of the {size} samples: {names}' if rows else f'batch of {size} samples: {names}'


def _parts(batch: Any) -> tuple[Any, Any]:
    if isinstance(batch, Mapping):
        return batch.get('inputs'), batch.get('data_samples')
    if isinstance(batch, (list, tuple)):
        return (*batch, None, None)[:2]
    return batch, None


def _name(samples: Any, row: int) -> str:
    sample: Any = samples[row] if isinstance(samples, (list, tuple)) else None
    for key in KEYS:
        value = sample.get(key) if hasattr(sample, 'get') else None
        if value is not None:
            return str(value) if key == KEYS[0] else f'{key} {value}'
    return f'batch[{row}]'
