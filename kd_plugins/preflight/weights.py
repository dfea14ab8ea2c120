"""Which trained weights a config asks for, and whether they are here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kd_plugins.build import resolve_model_config
from kd_plugins.checkpoint import local_path
from kd_plugins.errors import Fault, UserError, join_path

# a checkpoint, and the model beside it whose pretrained weights it stands for
CHECKPOINTS = {'teacher_ckpt': 'teacher', 'ckpt_path': 'build_cfg'}


def set_aside_absent_weights(model: Any) -> list[Fault]:
    """Take checkpoints that are not on this machine out of a model's config, so that it can be checked without.

    Args:
        model: The config of the algorithm or the model, which is changed.

    Returns:
        A warning per checkpoint.
    """
    warnings = []
    for where, node, key, address in list(_asked_for(model, 'model')):
        if address is None or local_path(address).is_file():
            continue
        remote = '://' in str(address)
        warnings.append(
            Fault(
                where,
                'weights on this machine, to hold them against the model',
                f'{address}, which is not {"downloaded yet" if remote else "there yet"}',
                'training downloads it' if remote else 'train it first, or correct the path; training needs it',
            )
        )
        if key == 'init_cfg':
            node[key] = None
        elif key == 'pretrained':
            node[key] = False
        else:
            node[key] = None
            model_config = node.get(CHECKPOINTS[key])
            if isinstance(model_config, dict) and model_config.get('pretrained'):
                model_config['pretrained'] = False
    return warnings


def _asked_for(node: Any, where: str, replaced: bool = False) -> Iterator[tuple[str, Any, str, Any]]:
    """Every place that names weights: key path, the dict, its key, and the address.

    Where ``replaced``, a checkpoint stands for the pretrained weights of the model.
    """
    if not isinstance(node, dict):
        return
    for key in CHECKPOINTS:
        if isinstance(node.get(key), str):
            yield join_path(where, key), node, key, node[key]
    if 'cfg_path' in node and node.get('pretrained') and not replaced:
        try:
            address = resolve_model_config(node, where)[2]
        except UserError:
            address = None
        yield join_path(where, 'pretrained'), node, 'pretrained', address
    start = node.get('init_cfg')
    if isinstance(start, Mapping) and start.get('type') == 'Pretrained' and isinstance(start.get('checkpoint'), str):
        yield join_path(where, 'init_cfg.checkpoint'), node, 'init_cfg', start['checkpoint']
    for key, child in node.items():
        replaced = any(key == name and node.get(checkpoint) for checkpoint, name in CHECKPOINTS.items())
        yield from _asked_for(child, join_path(where, str(key)), replaced)
