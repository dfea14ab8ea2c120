"""The time limits of ``processes``: what hangs is killed, its output shown, and the machine blamed where it is."""

import sys
import time
from pathlib import Path

import processes
import pytest
from processes import gloo_fault, run, spawn

# a child that ignores the end of its parent and keeps its output open, as torchrun's workers do
HANGS = """
import subprocess, sys, time
print('so far so good', flush=True)
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
print(child.pid, file=sys.stderr, flush=True)
time.sleep(60)
"""


def sleep(rank, seconds):
    time.sleep(seconds)


def fail(rank):
    raise RuntimeError('Timed out waiting 60000ms for recv operation')


@pytest.fixture
def gloo(monkeypatch):
    """Says what the probe found."""

    def found(fault):
        monkeypatch.setattr(processes, 'gloo_fault', lambda: fault)

    found('')
    return found


def test_what_ends_in_time_is_given_back(gloo):
    done = run([sys.executable, '-c', 'import sys; print(1); print(2, file=sys.stderr); sys.exit(3)'])
    assert (done.returncode, done.stdout, done.stderr) == (3, '1\n', '2\n')


def test_what_hangs_is_killed_with_its_children(gloo):
    start = time.monotonic()
    with pytest.raises(pytest.fail.Exception, match=r'ran longer than 5 s; printed:\nso far so good') as failure:
        run([sys.executable, '-c', HANGS], limit=5)
    child = Path('/proc', str(failure.value).split()[-1], 'cmdline')
    while child.exists() and child.read_text():  # a zombie has none
        assert time.monotonic() - start < 30
        time.sleep(0.05)


@pytest.mark.parametrize('command', ['import time; time.sleep(9)', 'raise TimeoutError("operation timed out")'])
def test_machine_without_gloo_is_to_blame(gloo, command):
    gloo('gloo is broken here')
    with pytest.raises(pytest.skip.Exception, match='gloo is broken here'):
        run([sys.executable, '-c', command], limit=1)


def test_failure_that_is_not_about_time_is_the_tests(gloo):
    gloo('gloo is broken here')
    assert run([sys.executable, '-c', 'raise RuntimeError']).returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize(('fault', 'outcome'), [('', pytest.fail.Exception), ('broken', pytest.skip.Exception)])
def test_spawned_processes_have_a_limit(gloo, fault, outcome):
    gloo(fault)
    start = time.monotonic()
    with pytest.raises(outcome, match='broken' if fault else 'ran longer than 1 s'):
        spawn(sleep, (60,), 2, limit=1)
    assert time.monotonic() - start < 50


@pytest.mark.slow
@pytest.mark.parametrize(('fault', 'outcome'), [('', Exception), ('broken', pytest.skip.Exception)])
def test_collective_that_timed_out(gloo, fault, outcome):
    gloo(fault)
    with pytest.raises(outcome, match='broken' if fault else 'Timed out waiting'):
        spawn(fail, (), 2)


@pytest.mark.slow
def test_the_probe_ends():
    assert isinstance(gloo_fault(), str)
