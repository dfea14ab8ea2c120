"""A packed student as mmengine tests it: a checkpoint of the student alone."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from kd_plugins.build import build_model
from kd_plugins.engine.export import PACKED_SUFFIX, student_config


@contextmanager
def unpacked(config: Config, checkpoint: str) -> Iterator[str]:
    """Inside, the path of a checkpoint that a config's model can load.

    Args:
        config: The whole config. For a packed file, its model becomes the student alone.
        checkpoint: A file that ``tools/export_student.py`` packed, or any other, which stays as it is.

    Yields:
        The path.

    Raises:
        UserError: The packed file cannot be read, or is not one of the config's student.
    """
    if not str(checkpoint).endswith(PACKED_SUFFIX):
        yield checkpoint
        return
    with DefaultScope.overwrite_default_scope(config.default_scope):
        scope, model = student_config(config, alone=True)
        config.model = {**model, '_scope_': scope}
        student, _ = build_model(copy.deepcopy(config.model), 'model')
    # imports mmpretrain, which the model has done by now
    from kd_plugins.models.quantized import read_packed

    state = read_packed(student, checkpoint)
    with tempfile.TemporaryDirectory(prefix='kd_plugins_') as folder:
        path = Path(folder, 'student.pth')
        torch.save({'state_dict': state, 'meta': {}}, path)
        yield str(path)
