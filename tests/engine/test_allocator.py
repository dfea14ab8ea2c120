"""What the system has to do for memory that was freed a moment ago, counted in page faults."""

import platform
import resource
import subprocess
import sys

import pytest

from kd_plugins.engine.allocator import keep_freed_memory

FAULTS = """
import resource, sys, torch
from kd_plugins.engine.allocator import keep_freed_memory
if sys.argv[1] != 'untouched':
    assert keep_freed_memory(sys.argv[1] == 'keep')
for _ in range(3):
    torch.ones(16 * 2**20).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    torch.ones(16 * 2**20).sum()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
# four feature maps of 64 MiB
PAGES = 4 * 64 * 2**20 // resource.getpagesize()

glibc = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='glibc alone can be told')


def faults(what):
    done = subprocess.run([sys.executable, '-c', FAULTS, what], capture_output=True, text=True, timeout=300, check=True)
    return int(done.stdout)


@pytest.mark.slow
@glibc
def test_kept_memory_is_not_asked_for_again():
    assert faults('untouched') >= PAGES
    assert faults('keep') < PAGES / 10


@glibc
def test_not_kept_is_what_glibc_does_by_itself():
    assert faults('not') >= PAGES


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(platform, 'libc_ver', lambda: ('', ''))
    assert keep_freed_memory() is False
