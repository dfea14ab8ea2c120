"""Runs as processes: several at a time, failures that stop nothing, an end that leaves none behind."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from made_results import made_result
from mmengine.config import Config

from kd_plugins.errors import UserError
from kd_plugins.sweep import Launcher, Run
from kd_plugins.sweep.execute import execute
from kd_plugins.sweep.plan import Arm

REPOSITORY = Path(__file__).parents[2]
# what a run is started with, in place of a training: it fails where the seed says so
SCRIPT = """
import json, os, sys, time
config, _, folder, _, seed, *rest = sys.argv[1:]
print('begins', flush=True)
open(os.path.join(folder, 'started.json'), 'w').write(json.dumps(dict(
    pid=os.getpid(), time=time.time(), rest=rest, threads=os.environ.get('OMP_NUM_THREADS'),
    gpu=os.environ.get('CUDA_VISIBLE_DEVICES'), arguments=sys.argv[0])))
if seed == '1':
    sys.exit('error: model.teacher_ckpt\\n  expected: a file')
if seed == '2':
    sys.exit(0)
time.sleep(float(open(config).read()))
open(os.path.join(folder, 'result.json'), 'w').write({result!r})
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / 'tools' / 'train.py'
    path.parent.mkdir()
    result = json.dumps({'format': 1, **asdict(made_result(91.0))})
    path.write_text(SCRIPT.replace('{result!r}', repr(result)))
    return path


def runs_of(tmp_path, seeds, seconds=0.0):
    config = tmp_path / 'config.py'
    config.write_text(str(seconds))
    arm = Arm('main', {}, Config({}), tmp_path / 'main')
    return [Run(arm, seed, config) for seed in seeds]


def started(tmp_path, seed):
    return json.loads((tmp_path / 'main' / f'seed_{seed}' / 'started.json').read_text())


def test_failures_stop_nothing(script, tmp_path, monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    ended = {}

    failures = execute(
        runs_of(tmp_path, [0, 1, 2, 3]),
        Launcher('local', script, 2),
        lambda run, result: ended.update({run.seed: result and result.score}),
    )

    assert ended == {0: 91.0, 1: None, 2: None, 3: 91.0}
    # one that fails, and one that ends without a result
    assert [(failure.run.seed, failure.status) for failure in failures] == [(1, 1), (2, 0)]
    assert failures[0].message == 'error: model.teacher_ckpt\n  expected: a file'
    assert failures[1].message == 'begins'
    assert started(tmp_path, 0)['threads'] == str(max(1, os.cpu_count() // 2))


def test_at_most_so_many_at_a_time(script, tmp_path):
    # long enough for the second one to begin meanwhile, on a busy machine too
    execute(runs_of(tmp_path, [0, 3, 4], seconds=2), Launcher('local', script, 2), lambda run, result: None)
    times = [started(tmp_path, seed)['time'] for seed in (0, 3, 4)]
    finished = [(tmp_path / 'main' / f'seed_{seed}' / 'result.json').stat().st_mtime for seed in (0, 3)]
    assert times[2] >= min(finished) - 0.01
    assert times[1] < min(finished)


@pytest.mark.parametrize('name', ['epoch_1.pth', 'stopped_iter_7.pth'])
def test_a_run_that_was_interrupted_is_resumed(script, tmp_path, name):
    (tmp_path / 'main' / 'seed_0').mkdir(parents=True)
    (tmp_path / 'main' / 'seed_0' / name).touch()
    execute(runs_of(tmp_path, [0, 3]), Launcher('local', script, 1), lambda run, result: None)
    assert started(tmp_path, 0)['rest'] == ['--resume']
    assert started(tmp_path, 3)['rest'] == []


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGKILL])
def test_no_run_is_left_behind(script, tmp_path, number):
    runs_of(tmp_path, [0], seconds=60)
    code = f"""
    import signal
    from pathlib import Path
    from mmengine.config import Config
    from kd_plugins.sweep import Launcher, Run
    from kd_plugins.sweep.execute import execute
    from kd_plugins.sweep.plan import Arm
    # a shell that runs the tests in the background lets them ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path({str(tmp_path)!r})
    run = Run(Arm('main', {{}}, Config({{}}), folder / 'main'), 0, folder / 'config.py')
    execute([run], Launcher('local', Path({str(script)!r}), 1), lambda run, result: None)
    """
    environment = {**os.environ, 'PYTHONPATH': str(REPOSITORY)}
    sweep = subprocess.Popen(
        [sys.executable, '-c', textwrap.dedent(code)],
        env=environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    file = tmp_path / 'main' / 'seed_0' / 'started.json'
    assert wait_until(file.is_file, 120)
    time.sleep(0.2)
    run = started(tmp_path, 0)['pid']

    sweep.send_signal(number)

    sweep.wait(30)
    assert wait_until(lambda: not is_running(run), 10)


def test_slurm_starts_each_run_as_a_job(script, tmp_path, monkeypatch):
    srun = tmp_path / 'bin' / 'srun'
    srun.parent.mkdir()
    # runs what follows its own options, as srun does on another machine
    srun.write_text('#!/bin/sh\necho "$@" >> "$SRUN_LOG"\nwhile [ "${1#-}" != "$1" ]; do shift; done\nexec "$@"\n')
    srun.chmod(0o755)
    log = tmp_path / 'srun.log'
    monkeypatch.setenv('PATH', f'{srun.parent}:{os.environ["PATH"]}')
    monkeypatch.setenv('SRUN_LOG', str(log))
    monkeypatch.setenv('SRUN_ARGS', '--partition=gpu --gres=gpu:1')

    assert execute(runs_of(tmp_path, [0]), Launcher('slurm', script), lambda run, result: None) == []

    job = log.read_text()
    assert '--ntasks=1' in job
    assert '--partition=gpu --gres=gpu:1' in job
    assert f'{script} {tmp_path / "config.py"} --work-dir {tmp_path / "main" / "seed_0"} --seed 0' in job


@pytest.fixture
def absent_srun(tmp_path, monkeypatch):
    """A ``srun`` that is found, and never started."""
    path = tmp_path / 'bin' / 'srun'
    path.parent.mkdir()
    path.touch(mode=0o755)
    monkeypatch.setenv('PATH', f'{path.parent}:{os.environ["PATH"]}')


def test_arguments_of_srun_may_be_quoted(script, tmp_path, monkeypatch, absent_srun):
    monkeypatch.setenv('SRUN_ARGS', '--comment="two  words" $HOME')
    assert Launcher('slurm', script)._before(tmp_path)[-2:] == ['--comment=two  words', '$HOME']


def test_refuses_a_quote_that_is_not_closed(script, monkeypatch, absent_srun):
    monkeypatch.setenv('SRUN_ARGS', "--comment='it")
    with pytest.raises(UserError, match=r"SRUN_ARGS: .*got --comment='it .*close the quote"):
        Launcher('slurm', script)
    # which nobody reads here
    Launcher('local', script)


def test_each_run_has_a_gpu_of_its_own(script, tmp_path, monkeypatch):
    monkeypatch.setattr('torch.cuda.device_count', lambda: 2)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    launcher = Launcher('local', script)
    assert launcher.jobs == 2
    execute(runs_of(tmp_path, [0, 3], seconds=0.5), launcher, lambda run, result: None)
    assert [started(tmp_path, seed)['gpu'] for seed in (0, 3)] == ['0', '1']


def test_gpus_that_a_scheduler_gave(script, tmp_path, monkeypatch):
    monkeypatch.setattr('torch.cuda.device_count', lambda: 2)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '5,7')
    execute(runs_of(tmp_path, [0, 3], seconds=0.5), Launcher('local', script), lambda run, result: None)
    assert [started(tmp_path, seed)['gpu'] for seed in (0, 3)] == ['5', '7']


def test_refuses(script, monkeypatch):
    with pytest.raises(UserError, match='--jobs'):
        Launcher('local', script, 0)
    monkeypatch.setenv('PATH', '')
    with pytest.raises(UserError, match='leave --launcher out'):
        Launcher('slurm', script)


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def is_running(pid):
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except OSError:
        return False
    return state != 'Z'
