"""Checkpoints from the network, which lie under their names only once they are whole."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch
from mmengine.fileio import get
from mmengine.logging import print_log

from kd_plugins.checkpoint.zoo import address_in_zoo
from kd_plugins.errors import Fault, UserError, describe_error

# the end of the names of OpenMMLab, torchvision and timm: the first digits of the file's SHA-256
_HASH_IN_NAME = re.compile(r'-([0-9a-f]{8,64})\.')
_IN_STORE = re.compile(r'(\S+:)?(s3|petrel)://')
_CHUNK = 1 << 20
# seconds without a byte after which a server is given up
PATIENCE = 60


def local_path(path: str | Path) -> Path:
    """Where a checkpoint is on this machine, or will be once it is downloaded.

    Args:
        path: A local path, an ``http(s)://`` address, or a name in a model zoo.

    Raises:
        UserError: The zoo has no such name.
    """
    address = address_in_zoo(str(path), 'checkpoint')
    if is_address(address):
        return Path(torch.hub.get_dir()) / 'checkpoints' / urlsplit(address).path.rpartition('/')[2]
    return Path(address).expanduser()


def is_address(path: str | Path) -> bool:
    """Whether a checkpoint has to be downloaded before it can be read."""
    return str(path).startswith(('http://', 'https://'))


def is_in_store(path: str | Path) -> bool:
    """Whether a checkpoint lies in an object store, behind mmengine's petrel client."""
    return _IN_STORE.match(str(path)) is not None


def download(url: str, where: str) -> Path:
    """Fetch a file into torch's cache, unless it is there.

    It gets its name once it is as long as the server said, and has the hash that its name ends in.

    Args:
        url: An ``http(s)://`` address.
        where: Key path or option that named it.

    Returns:
        The file.

    Raises:
        UserError: It cannot be had whole. What was there before is as it was.
    """
    target = local_path(url)
    if target.is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _fetch(url, target)
    except (OSError, HTTPException, ValueError) as error:
        raise UserError(
            Fault(
                where,
                'a checkpoint that can be downloaded',
                f'{url} ({describe_error(error, 160)})',
                f'download it elsewhere and give its path, or put it at {target}',
            )
        ) from error
    return target


def fetch_from_store(path: str, folder: Path, where: str) -> Path:
    """Copy a file of an object store (``s3://``, ``petrel://``) into a folder.

    Raises:
        UserError: There is no client for it here, or it has no such file.
    """
    copy = folder / path.rpartition('/')[2]
    try:
        copy.write_bytes(get(path, backend_args={'backend': 'petrel'}))
    except Exception as error:
        # each store's client has errors of its own
        got, advice = f'{path} ({describe_error(error, 160)})', 'install its client, or copy the file here'
        raise UserError(Fault(where, 'a file of an object store', got, advice)) from error
    return copy


def _fetch(url: str, target: Path) -> None:
    print_log(f'downloading {url} to {target}', logger='current', level=logging.INFO)
    digest = hashlib.sha256()
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f'{target.name}.', suffix='.partial')
    try:
        with os.fdopen(handle, 'wb') as file:
            with urlopen(Request(url, headers={'User-Agent': 'kd_plugins'}), timeout=PATIENCE) as answer:
                announced = answer.headers.get('Content-Length')
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
            length = file.tell()
            file.flush()
            os.fsync(file.fileno())
        if announced is not None and length != int(announced):
            raise ValueError(f'cut off after {length:,} of {int(announced):,} bytes')
        wanted = _HASH_IN_NAME.search(target.name)
        if wanted and not digest.hexdigest().startswith(wanted[1]):
            raise ValueError(f'its hash is {digest.hexdigest()[: len(wanted[1])]}, its name says {wanted[1]}')
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    finally:
        Path(temporary).unlink(missing_ok=True)
