"""One of two workers is killed at a random moment: the run ends in the stated time, or starts again and goes on."""

import contextlib
import os
import random
import re
import signal
import time
from pathlib import Path

import pytest
from launches import command, environment, prepare, write_config
from processes import started

from kd_plugins.report.result import read_result

# how long the others may live on: AFTER_DEATH of the launcher, and what it takes to notice and to end
STATED = 35
ITERATIONS = 60


@pytest.fixture
def training(tmp_path):
    """Starts a training of two processes."""
    prepare(tmp_path)
    write_config(tmp_path, dict(type='ProcessHook'), iterations=ITERATIONS, interval=2)

    def start(*options):
        arguments = ['tiny.py', 2, '--work-dir', 'run', *options]
        return started(command('dist_train.sh', *arguments), cwd=tmp_path, env=environment(tmp_path))

    return start


def kill_one(launch, folder):
    """Kill a worker at a random moment of the training; returns the pids of both, the killed one first."""
    paths = [folder / f'run/process_{rank}.txt' for rank in range(2)]
    launch.wait_for(lambda: all(path.exists() and path.read_text() for path in paths))
    chance = random.Random()
    time.sleep(chance.uniform(0, 2))
    pids = [int(path.read_text()) for path in paths]
    chance.shuffle(pids)
    os.kill(pids[0], signal.SIGKILL)
    return pids


def is_running(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    return False


@pytest.mark.slow
def test_the_others_end_in_the_stated_time(training, tmp_path):
    with training() as launch:
        killed, other = kill_one(launch, tmp_path)
        start = time.monotonic()
        done = launch.wait(STATED)
        print(f'the run ended {time.monotonic() - start:.1f} s after a worker was killed')

    assert done.returncode == 128 + signal.SIGKILL
    assert re.search(rf'^error: process \d \(pid {killed}\) ended with signal 9$', done.stderr, re.MULTILINE)
    assert not is_running(other)
    assert not (tmp_path / 'run/result.json').exists()


@pytest.mark.slow
def test_with_a_restart_it_goes_on_by_itself(training, tmp_path):
    with training('--max-restarts', 1) as launch:
        killed, _ = kill_one(launch, tmp_path)
        start = time.monotonic()
        done = launch.wait(120)
        print(
            f'the run ended {time.monotonic() - start:.1f} s after a worker was killed, with status {done.returncode}'
        )

    assert done.returncode == 0, done.stderr
    assert f'(pid {killed}) ended with signal 9; all start again (1 of at most 1)' in done.stderr
    resumed = re.search(r'resumed epoch: \d+, iter: (\d+)', done.stdout)
    assert resumed
    print(f'it went on from iteration {resumed[1]}')
    assert int(resumed[1]) >= 2
    steps = [int(number) for number in re.findall(rf'Iter\(train\)\s+\[\s*(\d+)/{ITERATIONS}\]', done.stdout)]
    assert steps.count(ITERATIONS) == 1
    assert steps.count(int(resumed[1])) <= 1, 'what was saved is not trained again'
    assert read_result(tmp_path / 'run').machine['processes'] == 2
