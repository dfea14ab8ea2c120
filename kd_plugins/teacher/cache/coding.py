"""From records to stored arrays and back: as they are, or logits by their largest classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from kd_plugins.errors import Fault, UserError
from kd_plugins.teacher.cache.manifest import Array


def encode(array: Array, record: torch.Tensor) -> list[np.ndarray]:
    """What is stored of a record.

    Args:
        array: How it is stored.
        record: (rows, *shape).

    Returns:
        By part, (rows, *shape of the part).

    Raises:
        UserError: A value does not fit float16.
    """
    if array.classes is None:
        return [_cast(record.cpu().numpy(), array)]
    count = array.parts[0].shape[0]
    log_probabilities = torch.log_softmax(record.float(), dim=1)  # (rows, C)
    values, classes = log_probabilities.topk(count, dim=1)
    return [
        classes.cpu().numpy().astype(array.parts[0].dtype),
        _cast(torch.cat([values, _mass_of_rest(log_probabilities, classes)], dim=1).cpu().numpy(), array),
    ]


def decode(array: Array, parts: Sequence[torch.Tensor]) -> torch.Tensor:
    r"""What a loss gets.

    Top-k logits become log-probabilities :math:`\log p` of all classes, of which the rest's mass is spread evenly over
    those that were not stored (the marginal smoothing of FKD). They are logits like any other: a softmax of
    :math:`\log p / \tau` is that of the teacher at temperature :math:`\tau`, as far as the K classes go.

    Paper: A Fast Knowledge Distillation Framework for Visual Recognition, https://arxiv.org/abs/2112.01528

    Args:
        array: How it was stored.
        parts: What was stored, by part, on any device; classes as int64.

    Returns:
        (rows, *shape): floating point in float32, whole numbers as they are.
    """
    if array.classes is None:
        return parts[0].float() if parts[0].is_floating_point() else parts[0]
    classes, values = parts[0], parts[1].float()
    rest = values[:, -1:] - np.log(array.classes - classes.shape[1])
    return rest.repeat(1, array.classes).scatter_(1, classes, values[:, :-1])


def recode(array: Array, record: torch.Tensor, stored: Sequence[np.ndarray]) -> np.ndarray:
    """What should be stored of a record, in full precision, for the classes that were stored.

    Two classes of nearly the same probability may change places from one machine to another.

    Args:
        array: How it is stored.
        record: (rows, *shape).
        stored: By part, what is stored of it.

    Returns:
        (rows, *shape of the last part), to be compared with the last part.
    """
    if array.classes is None:
        return record.cpu().numpy()
    log_probabilities = torch.log_softmax(record.float(), dim=1).cpu()
    classes = torch.from_numpy(stored[0].astype(np.int64))
    values = log_probabilities.gather(1, classes)
    return torch.cat([values, _mass_of_rest(log_probabilities, classes)], dim=1).numpy()


def _mass_of_rest(log_probabilities: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Logarithm of the summed probability of all classes but the chosen ones: (rows, C), (rows, K) -> (rows, 1)."""
    return log_probabilities.scatter(1, classes, float('-inf')).logsumexp(dim=1, keepdim=True)


def _cast(values: np.ndarray, array: Array) -> np.ndarray:
    dtype = np.dtype(array.parts[-1].dtype)
    with np.errstate(over='ignore'):
        cast = values.astype(dtype, copy=False)
    if dtype == np.float16 and not np.isfinite(cast).all():
        got = f'{np.abs(values).max():g} in the record of {array.name!r}'
        raise UserError(Fault('--dtype', f'values up to {np.finfo(dtype).max:g}', got, 'add --dtype float32'))
    return cast
