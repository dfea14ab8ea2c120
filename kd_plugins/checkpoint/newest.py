"""The checkpoint that a training goes on from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kd_plugins.checkpoint.pickled import refuse_hostile_file
from kd_plugins.checkpoint.reading import read_checkpoint
from kd_plugins.errors import UserError

# the weights of a good validation, without what a training goes on from
BEST = 'best_'
OF_TRAINING = {'meta', 'message_hub'}


@dataclass(frozen=True)
class Found:
    """What lies in a work_dir.

    Attributes:
        path: The newest checkpoint that is whole; None for none.
        passed_over: Others that are damaged, and how; newer ones, and those whose age cannot be told.
    """

    path: Path | None
    passed_over: dict[Path, str]


def newest_whole_checkpoint(*folders: Path, counts: Callable[[dict[str, Any]], bool] | None = None) -> Found:
    """Find the checkpoint that was saved last, and is what it was when it was saved.

    Args:
        folders: Where to look.
        counts: Says of what a checkpoint holds whether it may be the one; all may be by default.
    """
    moments: dict[Path, tuple[str, int]] = {}
    passed_over: dict[Path, str] = {}
    for path in sorted({path.resolve() for folder in folders for path in folder.glob('*.pth')}):
        if path.name.startswith(BEST):
            continue
        try:
            moment = _saved_at(path, counts)
        except Exception as error:  # bytes that are no pickle raise what they like
            passed_over[path] = f'it cannot be read ({type(error).__name__})'
        else:
            moments |= {path: moment} if moment is not None else {}
    for path in sorted(moments, key=lambda path: moments[path], reverse=True):
        try:
            read_checkpoint(path, '--resume')
        except UserError as error:
            passed_over[path] = error.faults[0].got
        else:
            return Found(path, passed_over)
    return Found(None, passed_over)


def _saved_at(path: Path, counts: Callable[[dict[str, Any]], bool] | None) -> tuple[str, int] | None:
    """When a checkpoint was saved, as mmengine notes it, and after how many iterations; None where it is no matter."""
    refuse_hostile_file(path)
    # tensors stay on disk
    content = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
    if not isinstance(content, dict) or not content.keys() >= OF_TRAINING or not (counts is None or counts(content)):
        return None
    return str(content['meta'].get('time', '')), int(content['meta']['iter'])
