"""Checkpoints are read weights-only, and what does not fit the model is said in full."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import safetensors
import safetensors.torch
import torch
from mmengine.dist import barrier
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader
from torch import nn

from kd_plugins.errors import Fault, UserError

STUDENT_PREFIX = 'architecture.'
NAMES_SHOWN = 4
# what reading bytes as a pickle raises that are none
DAMAGED = (RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError, struct.error)
# NumPy keeps the functions that rebuild its pickles in a private module
_reconstruct_array: Any = np.zeros(0).__reduce__()[0]
_reconstruct_scalar: Any = np.float64(0).__reduce__()[0]
# the methods that mmengine's checkpoints refer to, by class
METHODS_IN_CHECKPOINTS: dict[Any, tuple[str, ...]] = {
    HistoryBuffer: ('min', 'max', 'current', 'mean'),
    OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear'),
}


def read_checkpoint(path: str | Path, where: str) -> dict[str, Any]:
    """Read a checkpoint to the CPU without running anything that it contains.

    Args:
        path: ``.safetensors``, or a file of ``torch.save`` whose content is tensors and plain values; a local path or
            an ``http(s)://`` address, which is downloaded once into torch's cache.
        where: Key path or option that named the file, for messages.

    Returns:
        What was saved; for safetensors the tensors by name.

    Raises:
        UserError: There is no such file, it is damaged, or it is a pickle that would run code.
    """
    if not isinstance(path, (str, Path)):
        raise UserError(Fault(where, 'the path or address of a checkpoint', repr(path), 'write it as a string'))
    local = _download(str(path), where) if _is_address(path) else local_path(path)
    if not local.is_file():
        raise UserError(Fault(where, 'a checkpoint file', f'{path}, which does not exist', 'correct the path'))
    try:
        if local.suffix == '.safetensors':
            return dict(safetensors.torch.load_file(local))
        content = torch.load(local, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            Fault(
                where,
                'a checkpoint of tensors and plain values',
                f'{path}, which holds objects that would run code when loaded ({_first_line(error)})',
                'save the state_dict alone, or as .safetensors, where you trust the file',
            )
        ) from error
    except (safetensors.SafetensorError, *DAMAGED) as error:
        raise UserError(
            Fault(where, 'a checkpoint', f'{path}, which cannot be read ({_first_line(error)})', 'copy it again')
        ) from error
    if not isinstance(content, dict):
        raise UserError(Fault(where, 'a dict of tensors', f'a {type(content).__name__} in {path}', 'save a state_dict'))
    return content


def local_path(path: str | Path) -> Path:
    """Where a checkpoint is on this machine, or will be once it is downloaded.

    Args:
        path: A local path or an ``http(s)://`` address.
    """
    if _is_address(path):
        return Path(torch.hub.get_dir()) / 'checkpoints' / str(path).rsplit('/', 1)[-1]
    return Path(path).expanduser()


def weights_of(checkpoint: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The model's tensors in a checkpoint of mmengine, timm, torchvision or of a plain ``state_dict``.

    In a checkpoint of a distillation, those are the student's, without its prefix.
    """
    state = checkpoint
    for key in ('state_dict', 'model'):
        if isinstance(checkpoint.get(key), Mapping):
            state = checkpoint[key]
            break
    tensors = {name.removeprefix('module.'): value for name, value in state.items() if isinstance(value, torch.Tensor)}
    student = {
        name.removeprefix(STUDENT_PREFIX): value for name, value in tensors.items() if name.startswith(STUDENT_PREFIX)
    }
    return student or tensors


def load_strictly(model: nn.Module, path: str | Path, where: str) -> None:
    """Load a checkpoint of exactly this model.

    Args:
        model: Where the weights go; unchanged in shape.
        path: As for :func:`read_checkpoint`.
        where: Key path or option that named the file.

    Raises:
        UserError: The file cannot be read, or a tensor is missing, left over or of another shape; all are counted and
            the first few named.
    """
    weights = weights_of(read_checkpoint(path, where))
    misfit = describe_misfit(model, weights)
    if misfit:
        raise UserError(
            Fault(where, f'weights of this {type(model).__name__}', f'{path}, with {misfit}', 'is it another model?')
        )


def describe_misfit(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> str:
    """Load weights as far as they fit and say what did not.

    Returns:
        A phrase that counts and names missing, left-over and mis-shaped tensors; empty where all fitted.
    """
    mis_shaped: list[str] = []
    try:
        incompatible = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        mis_shaped = [line.strip().removesuffix('.') for line in str(error).splitlines() if 'size mismatch' in line]
        fitting = {
            name: tensor
            for name, tensor in weights.items()
            if not any(line.startswith(f'size mismatch for {name}:') for line in mis_shaped)
        }
        incompatible = model.load_state_dict(fitting, strict=False)
    shaped = {line.split('size mismatch for ')[1].split(':')[0] for line in mis_shaped}
    missing = [name for name in incompatible.missing_keys if name not in shaped]
    parts = [
        (missing, 'tensors of the model missing'),
        (incompatible.unexpected_keys, 'tensors that the model does not have'),
        ([line.removeprefix('size mismatch for ') for line in mis_shaped], 'tensors of another shape'),
    ]
    return '; '.join(f'{len(names)} {kind} ({_shorten(names)})' for names, kind in parts if names)


def allow_mmengine_checkpoints() -> None:
    """Let torch's weights-only loader read what mmengine puts into its own checkpoints, and no more.

    mmengine 0.10 saves ``HistoryBuffer`` objects (NumPy arrays) and, of a OneCycle schedule, its annealing function.
    Both refer to methods of their class, which are pickled as calls of ``getattr``: those methods are allowed, the
    general ``getattr`` stays forbidden.
    """
    torch.serialization.add_safe_globals(
        [
            *METHODS_IN_CHECKPOINTS,
            (_method_in_checkpoint, 'builtins.getattr'),
            np.ndarray,
            np.dtype,
            *{type(np.dtype(code)) for code in np.typecodes['AllInteger'] + np.typecodes['AllFloat'] + '?'},
            (_reconstruct_array, 'numpy._core.multiarray._reconstruct'),
            (_reconstruct_array, 'numpy.core.multiarray._reconstruct'),
            (_reconstruct_scalar, 'numpy._core.multiarray.scalar'),
        ]
    )


def guard_downloads() -> None:
    """Make mmengine load what it downloads weights-only, as it loads local files.

    Its loader of ``http(s)://`` addresses, which ``init_cfg`` and ``load_from`` use, would unpickle anything. The
    schemes of model zoos (``torchvision://``, ``open-mmlab://``) are mmengine's own still. Weights that lie under
    ``model``, as timm and the authors of DeiT save them, are found; mmengine alone would load nothing of them.
    """
    CheckpointLoader.register_scheme(('http://', 'https://'), loader=_load_from_http, force=True)
    CheckpointLoader.register_scheme('', loader=_load_from_local, force=True)


def _load_from_http(filename: str, map_location: Any = None) -> Any:
    """Download on the first process of each machine, and load on all."""
    local_rank = int(os.environ.get('LOCAL_RANK', 0))
    if local_rank == 0:
        _download(filename, 'checkpoint')
    barrier()
    return _load_from_local(str(_download(filename, 'checkpoint')), map_location)


def _load_from_local(filename: str, map_location: Any = None) -> Any:
    path = Path(filename).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'{filename} can not be found.')
    return _with_state_dict(torch.load(path, map_location=map_location, weights_only=True))


def _with_state_dict(content: Any) -> Any:
    """A checkpoint with its weights where mmengine looks for them."""
    if isinstance(content, dict) and 'state_dict' not in content and isinstance(content.get('model'), Mapping):
        return {**content, 'state_dict': content['model']}
    return content


def _method_in_checkpoint(owner: Any, name: str) -> Any:
    if name not in METHODS_IN_CHECKPOINTS.get(owner, ()):
        raise pickle.UnpicklingError(f'Unsupported getattr({owner!r}, {name!r})')
    return getattr(owner, name)


def _download(url: str, where: str) -> Path:
    """Fetch ``url`` into torch's cache; torch checks the hash that OpenMMLab's file names end in."""
    target = local_path(url)
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        prefix = torch.hub.HASH_REGEX.search(target.name)
        try:
            torch.hub.download_url_to_file(url, str(target), prefix.group(1) if prefix else None)
        except (URLError, OSError, RuntimeError) as error:
            raise UserError(
                Fault(
                    where,
                    'a checkpoint that can be downloaded',
                    f'{url} ({_first_line(error)})',
                    f'download it elsewhere and give its path, or put it at {target}',
                )
            ) from error
    return target


def _is_address(path: str | Path) -> bool:
    return str(path).startswith(('http://', 'https://'))


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if 'GLOBAL' in line or 'Unsupported' in line]
    return (telling or lines or [type(error).__name__])[0][:160]


def _shorten(names: list[str]) -> str:
    return ', '.join(names[:NAMES_SHOWN]) + (', …' if len(names) > NAMES_SHOWN else '')
