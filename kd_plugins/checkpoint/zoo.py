"""Names of model zoos, and the addresses behind them."""

from __future__ import annotations

import os
from pathlib import Path

from mmengine.runner.checkpoint import (
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)

from kd_plugins.errors import Fault, UserError, closest

TORCHVISION = ('torchvision://', 'modelzoo://')
OPENMMLAB = ('open-mmlab://', 'openmmlab://')
MMCLS = 'mmcls://'
ZOOS = (*TORCHVISION, *OPENMMLAB, MMCLS)


def address_in_zoo(path: str, where: str) -> str:
    """The address that a name such as ``torchvision://resnet18`` stands for; anything else is returned as it is.

    Args:
        path: Of a checkpoint.
        where: Key path or option that named it.

    Raises:
        UserError: The zoo has no such model, or the service is none that can be asked.
    """
    if path.startswith('pavi://'):
        expected, advice = 'a path or an address', 'pavi is no public service: copy the file here and give its path'
        raise UserError(Fault(where, expected, path, advice))
    if not path.startswith(ZOOS):
        return path
    scheme, _, name = path.partition('://')
    if path.startswith(TORCHVISION):
        addresses = get_torchvision_models()
    elif path.startswith(OPENMMLAB):
        addresses = get_external_models()
        name = get_deprecated_model_names().get(name, name)
    else:
        addresses = get_mmcls_models()
    if name not in addresses:
        raise UserError(Fault(where, f'a model that {scheme}:// has', repr(name), closest(name, addresses)))
    address = str(addresses[name])
    if address.startswith(('http://', 'https://')):
        return address
    # a user's own open_mmlab.json names files in the folder that it lies in
    return str(_home_of_mmengine() / address)


def _home_of_mmengine() -> Path:
    cache = os.environ.get('XDG_CACHE_HOME', '~/.cache')
    return Path(os.environ.get('MMENGINE_HOME', f'{cache}/mmengine')).expanduser()
