"""The launch scripts, with two processes on the CPU, and what they say to mistakes."""

import os
import re
import shlex
import shutil
import socket
from pathlib import Path

import pytest
import torch
from launches import LAUNCH_VARIABLES, REPOSITORY, command, environment, prepare, write_config
from processes import run

from kd_plugins.engine import distributed
from kd_plugins.report.result import read_result
from tools import dist_launch


@pytest.fixture
def folder(tmp_path):
    """A folder with a random teacher and a module of hooks, to run the scripts in."""
    return prepare(tmp_path)


def run_script(folder, script, *arguments, **variables):
    return run(command(script, *arguments), cwd=folder, env=environment(folder, **variables))


@pytest.mark.slow
def test_two_processes_train_one_student_and_test_it(folder):
    config = write_config(folder, dict(type='FingerprintHook'))

    # with a teacher of which each process holds a half
    best = ['--cfg-options', 'default_hooks.checkpoint.save_best=accuracy/top1', 'model.teacher_forward.shard=True']
    trained = run_script(folder, 'dist_train.sh', config, 2, '--work-dir', 'run', *best)

    assert trained.returncode == 0, trained.stderr
    result = read_result(folder / 'run')
    assert result.machine['processes'] == 2
    assert result.teacher['name'] == 'PlainCNN'
    assert result.teacher['latency_ms'] is None, 'a process cannot run it alone'
    assert result.weights.startswith('best_accuracy_top1_iter_')
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
    config = write_config(folder, teacher_ckpt='nowhere.pth')

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
@pytest.mark.parametrize(
    ('how', 'status', 'said'),
    [
        ('raise', 1, 'RuntimeError: a bug of somebody in process 3'),
        ('refuse', 2, 'error: here\n  expected: this\n  got:      that in process 3\n  to do:    mend it'),
    ],
)
def test_error_of_the_last_process_is_shown_and_not_repeated(folder, how, status, said):
    config = write_config(folder, dict(type='CrashHook', how=how, rank=3))

    # a mistake of the user would be made again
    options = ['--max-restarts', 2] if how == 'refuse' else []
    done = run_script(folder, 'dist_train.sh', config, 4, '--work-dir', 'run', *options)

    assert done.returncode == status
    assert done.stderr.count(said) == 1
    assert 'start again' not in done.stderr
    assert 'ChildFailedError' not in done.stderr


@pytest.mark.slow
def test_killed_process_ends_the_run(folder):
    config = write_config(folder, dict(type='CrashHook', how='kill'))

    done = run_script(folder, 'dist_train.sh', config, 2, '--work-dir', 'run')

    assert done.returncode != 0
    assert re.search(r'error: process \d \(pid \d+\) ended with', done.stderr)


@pytest.mark.parametrize(
    ('installed', 'active', 'runs'),
    [
        (['.venv', '.venv-onedl'], False, '.venv'),
        (['.venv-onedl'], False, '.venv-onedl'),
        (['.venv', '.venv-onedl', 'own'], True, 'own'),
    ],
)
def test_which_interpreter_scripts_run(tmp_path, installed, active, runs):
    (tmp_path / 'tools').mkdir()
    shutil.copy(REPOSITORY / 'tools/dist_train.sh', tmp_path / 'tools')
    for name in installed:
        python = tmp_path / name / 'bin/python'
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\necho {name}\n')
        python.chmod(0o755)
    path = f'{tmp_path}/own/bin:/usr/bin:/bin' if active else '/usr/bin:/bin'
    variables = dict(PATH=path, VIRTUAL_ENV=f'{tmp_path}/own') if active else dict(PATH=path)
    done = run(['bash', str(tmp_path / 'tools/dist_train.sh'), 'config.py', '2'], env=variables)
    assert done.stdout == f'{runs}\n'


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
    assert arguments[:6] == [
        '--nproc-per-node=8',
        '--max-restarts=0',
        '--nnodes=2',
        '--node-rank=1',
        '--master-addr=10.1.1.1',
        '--master-port=29511',
    ]
    assert arguments[6] == str(REPOSITORY / 'tools/test.py')
    assert arguments[7:] == ['my config.py', '$(touch x).pth', '--launcher', 'pytorch', '--work-dir', 'a b']


@pytest.mark.parametrize(('node', 'host'), [('0', '1'), ('1', '0')])
def test_machines_that_may_restart_meet_anew_each_time(launches, monkeypatch, node, host):
    for name, value in dict(NNODES='2', NODE_RANK=node, MASTER_ADDR='127.0.0.1', PORT='29517').items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv('TORCH_DISABLE_SHARE_RDZV_TCP_STORE', raising=False)

    assert dist_launch.main(['train', 'config.py', '--max-restarts', '3', '8', '--resume', '--work-dir', 'a b']) == 0

    (arguments,) = launches
    assert arguments[:6] == [
        *('--nproc-per-node=8', '--max-restarts=3', '--nnodes=2', '--rdzv-backend=c10d', '--rdzv-id=kd_plugins'),
        '--rdzv-endpoint=127.0.0.1:29517',
    ]
    assert arguments[6:8] == [f'--rdzv-conf=is_host={host}', '--local-addr=127.0.0.1']
    assert arguments[9:] == ['config.py', '--launcher', 'pytorch', '--resume', '--work-dir', 'a b']
    assert os.environ['TORCH_DISABLE_SHARE_RDZV_TCP_STORE'] == '1'


@pytest.mark.parametrize('value', ['-1', 'often', '1.5', ''])
def test_restarts_must_be_a_number(capsys, launches, value):
    message = refuse(capsys, 'config.py', '2', f'--max-restarts={value}')

    assert message.startswith('error: --max-restarts\n')
    assert repr(value) in message
    assert not launches


def test_restarts_are_of_the_training_alone(launches):
    assert dist_launch.main(['test', 'config.py', 'checkpoint.pth', '1', '--max-restarts', '3']) == 0

    # which the tool will not know
    assert launches[0][-2:] == ['--max-restarts', '3']


def test_number_of_machines_is_fixed(capsys, launches, monkeypatch):
    monkeypatch.setenv('NNODES', '1:2')

    message = refuse(capsys, 'config.py', '1', '--max-restarts', '1')

    assert "'1:2'" in message
    assert 'start again with --resume on those that are left' in message


def test_first_machine_that_is_not_there(capsys, launches, monkeypatch):
    monkeypatch.setenv('NNODES', '2')
    monkeypatch.setenv('NODE_RANK', '1')
    monkeypatch.setenv('MASTER_ADDR', 'no.such.machine.invalid')

    message = refuse(capsys, 'config.py', '1', '--max-restarts', '1')

    assert message.startswith('error: MASTER_ADDR\n')
    assert 'no.such.machine.invalid' in message


@pytest.mark.parametrize(('nodes', 'port'), [('1', None), ('2', '29500')])
def test_port_without_one_in_the_environment(launches, monkeypatch, nodes, port):
    monkeypatch.setenv('NNODES', nodes)
    monkeypatch.setenv('NODE_RANK', str(int(nodes) - 1))

    dist_launch.main(['train', 'config.py', '1'])

    chosen = launches[0][5].removeprefix('--master-port=')
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


@pytest.mark.parametrize(
    ('text', 'arguments'),
    [
        ('', []),
        (' --comment="two  words"   --qos=low ', ['--comment=two  words', '--qos=low']),
        ("'--comment=it'\\''s' ''", ["--comment=it's", '']),
        # nothing is run or looked up
        ('$HOME `touch made` *', ['$HOME', '`touch', 'made`', '*']),
    ],
)
def test_slurm_script_reads_quotes_as_a_sweep_does(tmp_path, fake_srun, text, arguments):
    done = run_script(tmp_path, 'slurm_train.sh', 'part', 'job', 'config.py', PATH=fake_srun, SRUN_ARGS=text)

    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    passed_on = printed[printed.index('--kill-on-bad-exit=1') + 1 : printed.index('python')]
    assert passed_on == arguments == shlex.split(text)
    assert not (tmp_path / 'made').exists()


def test_slurm_script_refuses_a_quote_that_is_not_closed(tmp_path, fake_srun):
    done = run_script(tmp_path, 'slurm_train.sh', 'part', 'job', 'config.py', PATH=fake_srun, SRUN_ARGS="--comment='it")

    assert done.returncode == 2
    assert done.stdout == ''
    assert done.stderr == "error: SRUN_ARGS: No closing quotation: --comment='it\n"


def test_slurm_script_on_several_machines(tmp_path, fake_srun):
    done = run_script(tmp_path, 'slurm_train.sh', 'part', 'job', 'config.py', PATH=fake_srun, GPUS='16')

    assert done.returncode == 0, done.stderr
    assert {'--gres=gpu:8', '--ntasks=16', '--ntasks-per-node=8', '--launcher=slurm'} <= set(done.stdout.splitlines())


@pytest.mark.slow
def test_job_that_slurm_queued_again_goes_on(folder, tmp_path, fake_srun):
    # one task, without asking a cluster for it
    fake = Path(fake_srun.partition(':')[0], 'srun')
    fake.write_text('#!/usr/bin/env bash\nwhile [ "$1" != python ]; do shift; done\nexec "$@"\n')
    job = dict(SLURM_PROCID='0', SLURM_NTASKS='1', SLURM_LOCALID='0', MASTER_ADDR='127.0.0.1', MASTER_PORT='0')
    job['SLURM_JOB_ID'] = '7'
    arguments = ['slurm_train.sh', 'part', 'job', write_config(folder, interval=2), '--work-dir', 'run']

    half = ['--cfg-options', 'train_cfg.max_iters=2', 'train_cfg.val_interval=2']
    done = run_script(folder, *arguments, *half, PATH=fake_srun, **job)
    assert done.returncode == 0, done.stderr
    again = run_script(folder, *arguments, PATH=fake_srun, SLURM_RESTART_COUNT='1', **job)

    assert again.returncode == 0, again.stderr
    assert re.search(r'resumed epoch: \d+, iter: 2\b', again.stdout)
    assert re.findall(r'Iter\(train\) \[(\d+)/4\]', again.stdout) == ['3', '4']


def test_slurm_script_without_arguments_or_slurm(tmp_path, fake_srun):
    few = run_script(tmp_path, 'slurm_train.sh', 'partition', PATH=fake_srun)
    assert few.returncode == 2
    assert few.stderr.startswith('usage:')

    if shutil.which('srun') is None:
        absent = run_script(tmp_path, 'slurm_train.sh', 'partition', 'job', 'config.py')
        assert absent.returncode == 2
        assert 'srun is not on this machine' in absent.stderr
