"""The files that a test writes: predictions or metrics, as a whole or not at all."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
import torch
from mmengine.evaluator import DumpResults

from kd_plugins.durable import durable_file

PREDICTION_SUFFIXES = ('.pkl', '.pickle')
METRIC_SUFFIXES = ('.json', '.yaml', '.yml', '.pkl', '.pickle')


class PredictionsFile(DumpResults):
    """mmengine's ``DumpResults``, whose file is whole or not there.

    Args:
        path: The file, a pickle of a list with a dict for each image.
    """

    # else mmengine warns that its metrics, of which there are none, have no prefix
    default_prefix = 'predictions'

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))

    def compute_metrics(self, results: list) -> dict:
        """Write what was gathered from all processes; there are no metrics."""
        with durable_file(Path(self.out_file_path)) as file:
            pickle.dump(results, file)
        return {}


def write_metrics(metrics: Mapping[str, Any], path: Path) -> None:
    """Write metrics in the format that the suffix of a file names; tensors and arrays become lists.

    Args:
        metrics: By name.
        path: The file.

    Raises:
        OSError: It cannot be written.
    """
    kind = path.suffix.removeprefix('.')
    if kind in ('pkl', 'pickle'):
        content = pickle.dumps(_plain(metrics))
    else:
        content = mmengine.dump(_plain(metrics), file_format=kind).encode()
    with durable_file(path) as file:
        file.write(content)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, (torch.Tensor, np.ndarray, np.generic)):
        return value.tolist()
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
