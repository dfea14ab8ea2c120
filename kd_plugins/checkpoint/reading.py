"""Checkpoints are read without running anything that they hold."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from kd_plugins.checkpoint.allowed import allow_mmengine_checkpoints
from kd_plugins.checkpoint.content import WEIGHTS, refuse_implausible
from kd_plugins.checkpoint.digest import digest_beside, is_altered
from kd_plugins.checkpoint.download import download, fetch_from_store, is_address, is_in_store
from kd_plugins.checkpoint.loaded import note_file
from kd_plugins.checkpoint.pickled import most_that_a_file_holds, refuse_damaged_file, refuse_hostile_file
from kd_plugins.checkpoint.refusal import ImplausibleError, RunsCodeError
from kd_plugins.checkpoint.zoo import address_in_zoo
from kd_plugins.errors import Fault, UserError

STUDENT_PREFIX = 'architecture.'


def read_checkpoint(path: str | Path, where: str, map_location: Any = 'cpu') -> dict[str, Any]:
    """Read a checkpoint without running anything that it contains.

    Args:
        path: ``.safetensors``, or a file of ``torch.save`` whose content is tensors and plain values: a local path; an
            ``http(s)://`` address or the name of one in a model zoo (``torchvision://``, ``open-mmlab://``,
            ``mmcls://``), which is downloaded once into torch's cache; or ``s3://``. Where ``NAME.sha256`` lies beside
            a file, in the format of ``sha256sum``, the file must be the one that it was made of.
        where: Key path or option that named the file, for messages.
        map_location: Where the tensors go, as for ``torch.load``.

    Returns:
        What was saved; for safetensors the tensors by name.

    Raises:
        UserError: There is no such file, it is damaged or altered, it is a pickle that would run code, or it holds
            more than a checkpoint of its size can.
    """
    if not isinstance(path, (str, Path)):
        raise UserError(Fault(where, 'the path or address of a checkpoint', repr(path), 'write it as a string'))
    content = _read_from_anywhere(path, address_in_zoo(str(path), where), where, map_location)
    note_file(str(path), content)
    return content


def read_weights(path: str | Path, where: str) -> dict[str, torch.Tensor]:
    """The model's tensors in a checkpoint.

    Args:
        path: As for :func:`read_checkpoint`.
        where: Key path or option that named the file.

    Raises:
        UserError: As for :func:`read_checkpoint`; or there are none.
    """
    weights = weights_of(read_checkpoint(path, where))
    if not weights:
        raise UserError(Fault(where, 'a checkpoint with weights', f'{path}, which has none', 'give another'))
    return weights


def weights_of(checkpoint: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The model's tensors in a checkpoint of mmengine, timm, torchvision or of a plain ``state_dict``.

    In a checkpoint of a distillation, those are the student's, without its prefix.
    """
    state = next((checkpoint[key] for key in WEIGHTS if isinstance(checkpoint.get(key), Mapping)), checkpoint)
    tensors = {name.removeprefix('module.'): value for name, value in state.items() if isinstance(value, torch.Tensor)}
    student = {
        name.removeprefix(STUDENT_PREFIX): value for name, value in tensors.items() if name.startswith(STUDENT_PREFIX)
    }
    return student or tensors


def _read_from_anywhere(path: str | Path, address: str, where: str, map_location: Any) -> dict[str, Any]:
    """Read what lies at ``address``, which messages call ``path``."""
    if is_in_store(address):
        with tempfile.TemporaryDirectory() as folder:
            return _read_file(fetch_from_store(address, Path(folder), where), str(path), where, map_location)
    if is_address(address):
        local = download(address, where)
        return _read_file(local, f'{path} (downloaded to {local})', where, map_location)
    return _read_file(Path(address), str(path), where, map_location)


def _read_file(file: Path, shown: str, where: str, map_location: Any) -> dict[str, Any]:
    """Read a local file, which messages call ``shown``."""

    def refuse(got: str, advice: str, expected: str = 'a checkpoint') -> UserError:
        return UserError(Fault(where, expected, f'{shown}, {got}', advice))

    try:
        file = file.expanduser()
        if not file.is_file():
            got = 'which is a folder' if file.is_dir() else 'which does not exist'
            raise refuse(got, 'correct the path', 'a checkpoint file')
        if is_altered(file):
            raise refuse('which was altered or cut off after it was written', 'use another, or make it again')
        content = _load(file, map_location)
        if not isinstance(content, dict):
            raise refuse(f'which holds a {type(content).__name__}', 'save a state_dict', 'a dict of tensors')
        refuse_implausible(content, most_that_a_file_holds(file.stat().st_size))
    except UserError:
        raise
    except (RunsCodeError, pickle.UnpicklingError) as error:
        raise refuse(
            f'which holds objects that would run code when loaded ({_first_line(error)})',
            'save the state_dict alone, or as .safetensors, where you trust the file',
            'a checkpoint of tensors and plain values',
        ) from error
    except ImplausibleError as error:
        raise refuse(str(error), 'get it anew from those who made it, if you trust them') from error
    except Exception as error:  # bytes that are no checkpoint make the loaders stumble in every way there is
        raise refuse(f'which cannot be read ({_first_line(error)})', 'copy it again') from error
    return content


def _load(file: Path, map_location: Any) -> Any:
    if file.suffix == '.safetensors':
        device = str(map_location) if isinstance(map_location, (str, torch.device)) else 'cpu'
        return dict(safetensors.torch.load_file(file, device=device))
    allow_mmengine_checkpoints()
    refuse_hostile_file(file)
    if not digest_beside(file).is_file():
        refuse_damaged_file(file)
    return torch.load(file, map_location=map_location, weights_only=True)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if 'GLOBAL' in line or 'Unsupported' in line]
    return (telling or lines or [type(error).__name__])[0][:160]
