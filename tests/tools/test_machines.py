"""Several machines: two launches on this one, and two network namespaces where root may have them."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import uuid

import pytest
from launches import command, environment, prepare, write_config
from processes import started

ADDRESSES = ('10.231.7.1', '10.231.7.2')


@pytest.fixture
def folder(tmp_path):
    """A folder that both machines see."""
    return prepare(tmp_path)


@pytest.fixture
def port():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return str(listener.getsockname()[1])


@contextlib.contextmanager
def on_both(folder, prefixes, options, interfaces, **variables):
    """Launch one process on each of two machines."""
    with contextlib.ExitStack() as both:
        launches = []
        for node in range(2):
            own = dict(NNODES='2', NODE_RANK=str(node), GLOO_SOCKET_IFNAME=interfaces[node], **variables)
            line = [*prefixes[node], *command('dist_train.sh', 'tiny.py', 1, '--work-dir', 'run', *options)]
            launches.append(both.enter_context(started(line, cwd=folder, env=environment(folder, **own))))
        yield launches


def loopback():
    return next(name for _, name in socket.if_nameindex() if name in ('lo', 'lo0'))


def check_that_both_trained_one_student(folder, launches):
    for launch in launches:
        done = launch.wait()
        assert done.returncode == 0, done.stderr
    first, second = ((folder / 'run' / f'rank_{rank}.txt').read_text() for rank in (0, 1))
    assert first == second
    assert first.startswith('2 gloo ')


@pytest.mark.slow
def test_two_launches_train_one_student(folder, port):
    write_config(folder, dict(type='FingerprintHook'))

    with on_both(folder, ([], []), [], [loopback()] * 2, MASTER_ADDR='127.0.0.1', PORT=port) as launches:
        check_that_both_trained_one_student(folder, launches)


@pytest.mark.slow
def test_both_machines_restart_when_a_process_of_one_died(folder, port):
    write_config(folder, dict(type='FingerprintHook'), dict(type='ProcessHook'), iterations=60, interval=2)
    address = dict(MASTER_ADDR='127.0.0.1', PORT=port)
    paths = [folder / f'run/process_{rank}.txt' for rank in range(2)]

    with on_both(folder, ([], []), ['--max-restarts', 1], [loopback()] * 2, **address) as launches:
        launches[0].wait_for(lambda: all(path.exists() and path.read_text() for path in paths))
        os.kill(int(paths[1].read_text()), signal.SIGKILL)
        check_that_both_trained_one_student(folder, launches)
        printed = [text for launch in launches for text in launch.printed()]

    assert sum('ended with signal 9; all start again (1 of at most 1)' in text for text in printed) == 1
    assert re.search(r'resumed epoch: \d+, iter: \d+', ''.join(printed))


@pytest.fixture
def namespaces():
    """Two network namespaces with a cable between them: their names, and those of the ends of the cable."""
    tag = uuid.uuid4().hex[:6]
    names, ends = [f'kd_{tag}_{node}' for node in range(2)], [f'kd{tag}{node}' for node in range(2)]
    lines = [
        *(f'netns add {name}' for name in names),
        f'link add {ends[0]} netns {names[0]} type veth peer name {ends[1]} netns {names[1]}',
    ]
    for name, end, address in zip(names, ends, ADDRESSES, strict=True):
        lines += [f'-n {name} addr add {address}/24 dev {end}', *(f'-n {name} link set {up} up' for up in (end, 'lo'))]
    try:
        for line in lines:
            try:
                done = subprocess.run(['ip', *line.split()], capture_output=True, text=True, check=False)
            except FileNotFoundError:
                pytest.skip('there is no command ip: install iproute2')
            if done.returncode:
                pytest.skip(f'ip {line}: {done.stderr.strip()}')
        yield names, ends
    finally:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                subprocess.run(['ip', 'netns', 'del', name], capture_output=True, check=False)


@pytest.mark.slow
def test_two_network_namespaces_train_one_student(folder, namespaces):
    write_config(folder, dict(type='FingerprintHook'))
    names, ends = namespaces
    prefixes = [['ip', 'netns', 'exec', name] for name in names]

    with on_both(folder, prefixes, [], ends, MASTER_ADDR=ADDRESSES[0]) as launches:
        check_that_both_trained_one_student(folder, launches)
