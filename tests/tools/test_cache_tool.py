"""The command line that writes a teacher cache: its output, several processes, and a kill."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cached import KD, digits_config, shard_bytes, teacher_weights
from processes import run

from kd_plugins.teacher.cache import read_manifest
from tools import cache_teacher, train

REPOSITORY = Path(__file__).parents[2]
ARGUMENTS = ('--views', 3, '--dtype', 'float32', '--batch-size', 20)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder to run in, with a config of 300 digits and its teacher."""
    path = teacher_weights(tmp_path, digits_config(tmp_path).model.teacher)
    (tmp_path / 'small.py').write_text(
        f'_base_ = [{str(KD)!r}]\n'
        f'model = dict(teacher_ckpt={str(path)!r})\n'
        'train_dataloader = dict(dataset=dict(num_images=300))\n'
        'train_cfg = dict(max_iters=2, val_interval=2)\n'
        'env_cfg = dict(dist_cfg=dict(timeout=120))\n'
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def called(*arguments):
    return cache_teacher.main([*map(str, arguments)])


@pytest.mark.slow
def test_what_is_written_is_trained_from_and_verified(folder, capsys):
    assert called('small.py', *ARGUMENTS, '--estimate') == 0
    estimated = capsys.readouterr().out
    assert not (folder / 'work_dirs').exists()

    assert called('small.py', *ARGUMENTS) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[:3] == estimated.splitlines()[:3]
    assert printed.out.startswith('rows    900 = 300 samples x 3 views (seed 0)\n')
    assert '900 of 900 rows' in printed.err
    line = 'model.teacher_cache=work_dirs/small/teacher_cache'
    assert f'--cfg-options {line}' in printed.out

    assert called('small.py', '--verify', 20) == 0
    assert 'head.fc: worst difference' in capsys.readouterr().out
    assert train.main(['small.py', '--work-dir', 'run', '--cfg-options', line]) == 0
    assert (folder / 'run' / 'iter_2.pth').is_file()

    path = folder / 'work_dirs/small/teacher_cache/00_head_fc/00002.npy'
    content = bytearray(path.read_bytes())
    content[-2] ^= 0x7F  # the exponent of its last float32
    path.write_bytes(content)
    assert called('small.py', '--verify', 900) == 2
    message = capsys.readouterr().err
    assert 'error: --verify (head.fc)' in message
    assert 'Traceback' not in message


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--views', '0'], 'whole number from 1 on'),
        (['--verify', '5'], 'teacher_cache, which does not exist'),
        (['--top-k', '11'], 'a number from 1 to 9'),
        (['--seed', '-1'], 'whole number from 0 on'),
        (['--launcher', 'pytorch'], 'the launcher that started this process'),
    ],
)
def test_mistakes_end_in_one_message(folder, capsys, arguments, message):
    assert called('small.py', *arguments) == 2
    printed = capsys.readouterr().err
    assert printed.count('error:') == 1
    assert message in printed
    assert 'Traceback' not in printed
    assert not (folder / 'work_dirs').exists()


def environment(folder):
    taken = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT')
    own = {name: value for name, value in os.environ.items() if name not in taken}
    return {**own, 'PYTHONPATH': str(REPOSITORY), 'OMP_NUM_THREADS': '1'}


@pytest.mark.slow
def test_two_processes_write_what_one_writes(folder):
    assert called('small.py', *ARGUMENTS, '--out', 'one') == 0
    script = ['bash', str(REPOSITORY / 'tools' / 'dist_cache_teacher.sh'), 'small.py', '2', *map(str, ARGUMENTS)]

    done = run([*script, '--out', 'two'], cwd=folder, env=environment(folder))

    assert done.returncode == 0, done.stderr
    assert shard_bytes(folder / 'two') == shard_bytes(folder / 'one')
    assert len(shard_bytes(folder / 'one')) == 15
    assert read_manifest('two', '') == read_manifest('one', '')
    assert done.stdout.count('train from it') == 1
    # the first process wrote every second shard
    assert '480 of 480 rows' in done.stderr

    script = ['bash', str(REPOSITORY / 'tools' / 'dist_train.sh'), 'small.py', '2', '--work-dir', 'run']
    trained = run([*script, '--cfg-options', 'model.teacher_cache=two'], cwd=folder, env=environment(folder))
    assert trained.returncode == 0, trained.stderr
    assert (folder / 'run' / 'iter_2.pth').is_file()
    shutil.rmtree(folder / 'run')
    spoilt = folder / 'two' / '00_head_fc' / '00003.npy'
    spoilt.write_bytes(b'')
    refused = run([*script, '--cfg-options', 'model.teacher_cache=two'], cwd=folder, env=environment(folder))
    assert refused.returncode == 2
    assert refused.stderr.count('error:') == 1
    assert '00003.npy has 0 bytes' in refused.stderr
    assert not (folder / 'run').exists()


@pytest.mark.slow
def test_a_mistake_of_two_processes_is_said_once(folder):
    script = ['bash', str(REPOSITORY / 'tools' / 'dist_cache_teacher.sh'), 'small.py', '2', '--top-k', '10']
    done = run(script, cwd=folder, env=environment(folder))
    assert done.returncode == 2
    assert done.stderr.count('error:') == 1
    assert 'error: --top-k' in done.stderr
    assert not (folder / 'work_dirs').exists()


@pytest.mark.slow
def test_a_killed_writer_is_resumed(folder, capsys):
    assert called('small.py', *ARGUMENTS, '--out', 'whole') == 0
    whole = shard_bytes(folder / 'whole')
    tool = [sys.executable, str(REPOSITORY / 'tools' / 'cache_teacher.py'), 'small.py', *map(str, ARGUMENTS)]
    # one core and a lower priority, so that the kill comes while it writes
    process = subprocess.Popen(['nice', '-n', '19', *tool, '--out', 'killed'], env=environment(folder), cwd=folder)
    try:
        deadline = time.monotonic() + 600
        while not list((folder / 'killed').glob('*/*.npy')):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    survived = shard_bytes(folder / 'killed')
    if len(survived) == len(whole):
        pytest.skip('the writer was done before it was killed')
    assert 0 < len(survived) < len(whole)
    assert not read_manifest('killed', '').complete
    assert all(whole[name] == content for name, content in survived.items())
    before = {path: path.stat().st_mtime_ns for path in (folder / 'killed').rglob('*.npy')}

    assert called('small.py', *ARGUMENTS, '--out', 'killed') == 0

    assert shard_bytes(folder / 'killed') == whole
    assert read_manifest('killed', '') == read_manifest('whole', '')
    assert {path: path.stat().st_mtime_ns for path in before} == before
