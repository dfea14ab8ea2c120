"""What all tests share: one thread, a fixed seed, and no default scope that leaks from one test into the next."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

import mmengine.config.config
import pytest
import torch
import yapf.yapflib.yapf_api
from fault_table import pytest_addoption, pytest_terminal_summary  # noqa: F401  hooks of pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

import kd_plugins.registry  # noqa: F401  allow-lists mmengine's checkpoints, registers the scope
from kd_plugins.engine.allocator import keep_freed_memory

MEMORY, ROOM = Path('/dev/shm'), 8 * 2**30


def pytest_configure(config: pytest.Config) -> None:
    """Have scripts run this interpreter, and files in memory where there is room: flushing to a disk takes seconds."""
    os.environ['VIRTUAL_ENV'] = sys.prefix
    os.environ['PATH'] = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        os.environ.setdefault('PYTEST_DEBUG_TEMPROOT', str(MEMORY))


def pytest_collection_finish() -> None:
    """Spare the garbage collector what is imported: mmengine calls it for each data set, three times a training."""
    _freeze()


def _freeze() -> None:
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope='session')
def _plain_dumps() -> Iterator[None]:
    """Dump configs without yapf, which takes longer than a short training does, several times a training."""
    with pytest.MonkeyPatch.context() as patch:
        # by which name it is called depends on the family of the stack
        for module in (mmengine.config.config, yapf.yapflib.yapf_api):
            patch.setattr(module, 'FormatCode', lambda text, **_: (text, True), raising=False)
        yield


@pytest.fixture(autouse=True, scope='module')
def _freed_memory() -> Iterator[None]:
    """Give back what the trainings of a file had this process keep, and spare the garbage collector what they left."""
    yield
    keep_freed_memory(False)
    _freeze()


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _logging() -> None:
    logging.disable(logging.NOTSET)
    # an earlier test's logger writes to a stream that pytest has closed, its visualizer to a folder that is gone: runs
    # of mmengine's own runner that begin in one second have one name
    for kind in (MMLogger, MessageHub, Visualizer, *Visualizer.__subclasses__()):
        kind._instance_dict.clear()


def _default_scope() -> Iterator[None]:
    scopes = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(scopes)


_own_default_scope = pytest.fixture(autouse=True)(_default_scope)
# what a fixture of a whole file trains would leave its scope to the files after it
_default_scope_of_file = pytest.fixture(autouse=True, scope='module')(_default_scope)
