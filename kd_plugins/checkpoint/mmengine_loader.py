"""mmengine's own loading, of ``init_cfg``, ``load_from`` and ``resume``, goes through our reader."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mmengine.dist import barrier
from mmengine.runner import CheckpointLoader

from kd_plugins.checkpoint.content import WEIGHTS
from kd_plugins.checkpoint.download import download, is_address
from kd_plugins.checkpoint.reading import read_checkpoint, weights_of
from kd_plugins.checkpoint.zoo import MMCLS, ZOOS, address_in_zoo
from kd_plugins.errors import Fault, UserError

# the regular expressions under which mmengine has loaders of its own
SCHEMES = ('', 'http://', 'https://', *ZOOS, 'pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://')
WHERE = 'checkpoint'


def guard_downloads() -> None:
    """Make mmengine load checkpoints as we do, whatever they are named by: nothing in them runs.

    Weights that lie under ``model``, as timm and the authors of DeiT save them, are found; mmengine alone would load
    nothing of them. The config that a checkpoint may carry is left out, for mmengine's ``resume`` would execute it.
    """
    CheckpointLoader.register_scheme(SCHEMES, loader=load_from_anywhere, force=True)


def load_from_anywhere(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load a checkpoint for mmengine.

    Args:
        filename: As for :func:`kd_plugins.checkpoint.read_checkpoint`; the first process of each machine downloads.
        map_location: Where the tensors go; None for where they were.

    Returns:
        What was saved, with the weights under ``state_dict``.

    Raises:
        UserError: As for reading; or it has no weights.
    """
    address = address_in_zoo(str(filename), WHERE)
    if is_address(address):
        if int(os.environ.get('LOCAL_RANK', 0)) == 0:
            download(address, WHERE)
        barrier()
    content = read_checkpoint(filename, WHERE, map_location)
    if not weights_of(content):
        raise UserError(Fault(WHERE, 'a checkpoint with weights', f'{filename}, which has none', 'give another'))
    if str(filename).startswith(MMCLS):
        return {'state_dict': _backbone_of(content)}
    return _without_code(_with_state_dict(content))


def _with_state_dict(content: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint with its weights where mmengine looks for them."""
    if 'state_dict' not in content and isinstance(content.get('model'), Mapping):
        return {**content, 'state_dict': content['model']}
    return content


def _without_code(content: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint without the config in its ``meta``, which mmengine would execute for the sake of its ``gpu_ids``."""
    meta = content.get('meta')
    if isinstance(meta, Mapping) and 'config' in meta:
        return {**content, 'meta': {key: value for key, value in meta.items() if key != 'config'}}
    return content


def _backbone_of(content: dict[str, Any]) -> dict[str, Any]:
    """What ``mmcls://`` means: a classifier's backbone alone, by its own names."""
    state = next((content[key] for key in WEIGHTS if isinstance(content.get(key), Mapping)), content)
    return {name.removeprefix('backbone.'): value for name, value in state.items() if name.startswith('backbone.')}
