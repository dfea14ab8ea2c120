"""The digest that may lie beside a file."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_DIGEST = re.compile(r'[0-9a-f]{64}')
_CHUNK = 1 << 20


def digest_beside(path: Path) -> Path:
    """Where the digest of a file lies: ``NAME.sha256``, in the format of ``sha256sum``."""
    return path.with_name(f'{path.name}.sha256')


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def is_altered(path: Path) -> bool:
    """Whether a file is another than the one that the digest beside it was made of; False where there is none."""
    beside = digest_beside(path)
    if not beside.is_file():
        return False
    words = beside.read_text(errors='replace')[:100].lower().split()
    return not words or not _DIGEST.fullmatch(words[0]) or words[0] != sha256_of(path)
