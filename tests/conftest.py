"""What all tests share: one thread, a fixed seed, and no default scope that leaks from one test into the next."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

os.environ.setdefault('OMP_NUM_THREADS', '1')

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

import kd_plugins  # noqa: F401  allow-lists mmengine's checkpoints, registers the scope


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _logging() -> None:
    logging.disable(logging.NOTSET)
    # the logger of an earlier test writes to a stream that pytest has closed
    MMLogger._instance_dict.clear()


@pytest.fixture(autouse=True)
def _own_default_scope() -> Iterator[None]:
    scopes = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(scopes)
