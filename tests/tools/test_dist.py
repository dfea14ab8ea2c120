"""The launch scripts, with two processes on the CPU, and what they say to mistakes."""

import os
import re
import shutil
import socket
from pathlib import Path

import pytest
import torch
from processes import run

from kd_plugins.build import build_model
from kd_plugins.engine import distributed
from kd_plugins.engine.config import load_config
from tools import dist_launch

REPOSITORY = Path(__file__).parents[2]
CONFIG = REPOSITORY / 'configs/quickstart/kd_vgg_cnn_digits.py'
LAUNCH_VARIABLES = ('NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT', 'RANK', 'LOCAL_RANK', 'WORLD_SIZE')

PROBE_HOOKS = """
import hashlib
import os
import signal
from pathlib import Path

import torch.distributed
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class FingerprintHook(Hook):
    '''Writes what the student of each rank is after training.'''

    priority = 'VERY_LOW'

    def after_train(self, runner):
        digest = hashlib.sha256()
        for name, tensor in sorted(runner.model.module.student.state_dict().items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
        rank = torch.distributed.get_rank()
        Path(runner.work_dir, f'rank_{rank}.txt').write_text(
            f'{torch.distributed.get_world_size()} {torch.distributed.get_backend()} {digest.hexdigest()}'
        )


@HOOKS.register_module()
class CrashHook(Hook):
    '''Ends the second process in its first step.'''

    def __init__(self, how):
        self.how = how

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if torch.distributed.get_rank() == 1:
            if self.how == 'raise':
                raise RuntimeError('a bug of somebody')
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a random teacher and a module of hooks, to run the scripts in."""
    torch.manual_seed(0)
    teacher, _ = build_model(load_config(CONFIG).model.teacher, 'teacher')
    torch.save({'state_dict': teacher.state_dict()}, tmp_path / 'teacher.pth')
    (tmp_path / 'probe_hooks.py').write_text(PROBE_HOOKS)
    return tmp_path


def write_config(folder, *hooks, teacher='teacher.pth'):
    """The quick pair for four iterations, with the hooks of this file."""
    path = folder / 'tiny.py'
    path.write_text(
        f'_base_ = [{str(CONFIG)!r}]\n'
        f'model = dict(teacher_ckpt={teacher!r})\n'
        "custom_imports = dict(imports=['probe_hooks'])\n"
        'env_cfg = dict(dist_cfg=dict(timeout=120))\n'
        f'custom_hooks = {list(hooks)!r}\n'
        'train_cfg = dict(max_iters=4, val_interval=4)\n'
        'default_hooks = dict(logger=dict(interval=1))\n'
    )
    return path


def run_script(folder, script, *arguments, **variables):
    environment = {name: value for name, value in os.environ.items() if name not in LAUNCH_VARIABLES}
    environment |= {'PYTHONPATH': str(folder), 'OMP_NUM_THREADS': '1', **variables}
    command = ['bash', str(REPOSITORY / 'tools' / script), *map(str, arguments)]
    return run(command, cwd=folder, env=environment)


@pytest.mark.slow
def test_two_processes_train_one_student_and_test_it(folder):
    config = write_config(folder, dict(type='FingerprintHook'))

    trained = run_script(folder, 'dist_train.sh', config, 2, '--work-dir', 'run')

    assert trained.returncode == 0, trained.stderr
    first, second = ((folder / 'run' / f'rank_{rank}.txt').read_text() for rank in (0, 1))
    assert first == second
    assert first.startswith('2 gloo ')
    state = torch.load(folder / 'run/iter_4.pth', weights_only=True)['state_dict']
    assert {name.split('.')[0] for name in state} == {'architecture'}
    assert 'teacher.accuracy/top1' in trained.stdout

    tested = run_script(folder, 'dist_test.sh', config, 'run/iter_4.pth', 2, '--work-dir', 'run')

    assert tested.returncode == 0, tested.stderr
    assert re.search(r'Iter\(test\).*accuracy/top1', tested.stdout)


@pytest.mark.slow
def test_mistake_in_the_config_is_said_once(folder):
    config = write_config(folder, teacher='nowhere.pth')

    done = run_script(folder, 'dist_train.sh', config, 2, '--work-dir', 'run')

    assert done.returncode == 2
    assert done.stderr.count('error:') == 1
    assert done.stderr.startswith('error: model.teacher_ckpt\n')
    assert 'Traceback' not in done.stderr
    assert 'ChildFailedError' not in done.stderr
    assert not (folder / 'run').exists()


@pytest.mark.slow
def test_mistake_in_the_options_is_said_once(folder):
    done = run_script(folder, 'dist_train.sh', write_config(folder), 2, '--bogus')

    assert done.returncode == 2
    assert done.stderr.count('error:') == 1
    assert 'unrecognized arguments: --bogus' in done.stderr


@pytest.mark.slow
def test_crash_of_a_process_shows_its_traceback(folder):
    config = write_config(folder, dict(type='CrashHook', how='raise'))

    done = run_script(folder, 'dist_train.sh', config, 2, '--work-dir', 'run')

    assert done.returncode == 1
    assert 'RuntimeError: a bug of somebody' in done.stderr
    assert 'ChildFailedError' not in done.stderr


@pytest.mark.slow
def test_killed_process_ends_the_run(folder):
    config = write_config(folder, dict(type='CrashHook', how='kill'))

    done = run_script(folder, 'dist_train.sh', config, 2, '--work-dir', 'run')

    assert done.returncode != 0
    assert re.search(r'error: process \d \(pid \d+\) ended with', done.stderr)


def refuse(capsys, *arguments):
    """Run the launcher in this process and return its message."""
    assert dist_launch.main(['train', *arguments]) == 2
    return capsys.readouterr().err


@pytest.fixture
def launches(monkeypatch):
    """What the launcher would have given to torchrun."""
    started = []
    monkeypatch.setattr(dist_launch, '_run', lambda arguments: started.append(arguments) or 0)
    for name in LAUNCH_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
        monkeypatch.setenv(name, '1')
    return started


@pytest.mark.parametrize('gpus', ['two', '-1', '0', '1.5', '²'])
def test_gpus_must_be_a_number(capsys, launches, gpus):
    message = refuse(capsys, 'config.py', gpus)

    assert message.startswith('error: GPUS\n')
    assert repr(gpus) in message
    assert not launches


@pytest.mark.parametrize('arguments', [[], ['config.py']])
def test_missing_arguments_show_the_usage(capsys, launches, arguments):
    assert 'bash tools/dist_train.sh CONFIG GPUS' in refuse(capsys, *arguments)


def test_more_processes_than_gpus(capsys, launches, monkeypatch):
    monkeypatch.setattr(distributed.torch.cuda, 'device_count', lambda: 1)

    message = refuse(capsys, 'config.py', '2')

    assert 'at most 1, the GPUs of this machine' in message
    assert not launches


@pytest.mark.parametrize(
    ('name', 'value'), [('NNODES', 'many'), ('NNODES', '0'), ('NODE_RANK', '1'), ('PORT', 'http'), ('PORT', '70000')]
)
def test_environment_is_checked(capsys, launches, monkeypatch, name, value):
    monkeypatch.setenv(name, value)

    message = refuse(capsys, 'config.py', '1')

    assert message.startswith(f'error: {name}\n')
    assert value in message


def test_port_in_use(capsys, launches, monkeypatch):
    with socket.socket() as other:
        other.bind(('', 0))
        other.listen()
        port = str(other.getsockname()[1])
        monkeypatch.setenv('PORT', port)

        assert f'{port}, which is in use' in refuse(capsys, 'config.py', '1')


def test_torchrun_gets_machines_and_arguments_as_they_are(launches, monkeypatch):
    for name, value in dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='10.1.1.1', PORT='29511').items():
        monkeypatch.setenv(name, value)

    assert dist_launch.main(['test', 'my config.py', '$(touch x).pth', '8', '--work-dir', 'a b']) == 0

    (arguments,) = launches
    assert arguments[:5] == [
        '--nproc-per-node=8',
        '--nnodes=2',
        '--node-rank=1',
        '--master-addr=10.1.1.1',
        '--master-port=29511',
    ]
    assert arguments[5] == str(REPOSITORY / 'tools/test.py')
    assert arguments[6:] == ['my config.py', '$(touch x).pth', '--launcher', 'pytorch', '--work-dir', 'a b']


@pytest.mark.parametrize(('nodes', 'port'), [('1', None), ('2', '29500')])
def test_port_without_one_in_the_environment(launches, monkeypatch, nodes, port):
    monkeypatch.setenv('NNODES', nodes)
    monkeypatch.setenv('NODE_RANK', str(int(nodes) - 1))

    dist_launch.main(['train', 'config.py', '1'])

    chosen = launches[0][4].removeprefix('--master-port=')
    assert chosen == port if port else 1024 <= int(chosen) < 65536


@pytest.mark.parametrize('threads', ['3', None])
def test_threads_of_the_user_stand(launches, monkeypatch, threads):
    monkeypatch.setattr(dist_launch.os, 'sched_getaffinity', lambda pid: set(range(8)), raising=False)
    monkeypatch.delenv('OMP_NUM_THREADS')
    if threads:
        monkeypatch.setenv('OMP_NUM_THREADS', threads)

    dist_launch.main(['train', 'config.py', '2'])

    assert os.environ['OMP_NUM_THREADS'] == (threads or '4')


@pytest.fixture
def fake_srun(tmp_path):
    """A ``srun`` that writes its arguments, one a line."""
    script = tmp_path / 'bin' / 'srun'
    script.parent.mkdir()
    script.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    script.chmod(0o755)
    return f'{script.parent}:{os.environ["PATH"]}'


def test_slurm_script_asks_for_what_the_environment_says(tmp_path, fake_srun):
    variables = dict(PATH=fake_srun, GPUS='4', CPUS_PER_TASK='3', SRUN_ARGS='--time=1:00 --qos=low')

    done = run_script(tmp_path, 'slurm_train.sh', 'gpu part', 'job', 'my config.py', '--seed', '1', **variables)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        *('-p', 'gpu part', '--job-name=job', '--gres=gpu:4', '--ntasks=4', '--ntasks-per-node=4'),
        *('--cpus-per-task=3', '--kill-on-bad-exit=1', '--time=1:00', '--qos=low'),
        *('python', '-u', str(REPOSITORY / 'tools/train.py'), 'my config.py', '--launcher=slurm', '--seed', '1'),
    ]


def test_slurm_script_without_arguments_or_slurm(tmp_path, fake_srun):
    few = run_script(tmp_path, 'slurm_train.sh', 'partition', PATH=fake_srun)
    assert few.returncode == 2
    assert few.stderr.startswith('usage:')

    if shutil.which('srun') is None:
        absent = run_script(tmp_path, 'slurm_train.sh', 'partition', 'job', 'config.py')
        assert absent.returncode == 2
        assert 'srun is not on this machine' in absent.stderr
