"""SIGTERM and Ctrl-C: a checkpoint at the next step, a stated exit status, and the same student in the end."""

import os
import signal
import subprocess
import time

import pytest
from processes import run
from test_random_kills import BY_EPOCHS, BY_ITERATIONS, last_checkpoint
from tool_process import REPOSITORY, ToolProcess, run_tool
from trainings import weights_of, write_config


@pytest.mark.slow
@pytest.mark.parametrize(
    ('number', 'status', 'body'), [(signal.SIGTERM, 143, BY_ITERATIONS), (signal.SIGINT, 130, BY_EPOCHS)]
)
def test_it_is_saved_and_goes_on(number, status, body, tmp_path, record_property):
    config = write_config(tmp_path, body)
    whole = run_tool('train', config, '--work-dir', 'whole', folder=tmp_path)
    assert whole.status == 0, whole.stderr
    stops = 0
    while stops < 3:
        process = ToolProcess('train', config, '--work-dir', 'run', '--resume', folder=tmp_path)
        process.wait_for('Checkpoints will be saved')
        time.sleep(0.2 + stops / 4)
        # to its whole group, as a terminal and Slurm do: workers of the data loader too
        os.killpg(process.pid, number)
        done = process.wait()
        assert done.status == status, done.stderr
        assert done.stderr.splitlines()[-1].startswith(f'stopped by {signal.Signals(number).name} after iteration ')
        assert 'is saved: go on with --resume' in done.stderr
        assert 'Traceback' not in done.stderr
        stops += 1
    done = run_tool('train', config, '--work-dir', 'run', '--resume', 'auto', folder=tmp_path)
    assert done.status == 0, done.stderr
    assert weights_of(last_checkpoint(tmp_path / 'run')) == weights_of(last_checkpoint(tmp_path / 'whole'))
    assert not list((tmp_path / 'run').glob('stopped_*'))
    record_property('cases', stops)


@pytest.mark.slow
def test_two_processes_stop_after_the_same_step(tmp_path):
    """The launcher is asked, as by Slurm; it asks its workers."""
    config = write_config(tmp_path, BY_ITERATIONS + 'env_cfg = dict(dist_cfg=dict(timeout=120))\n')
    script = ['bash', str(REPOSITORY / 'tools/dist_train.sh'), str(config), '2', '--work-dir']
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    whole = run([*script, 'whole'], cwd=tmp_path, env=environment)
    assert whole.returncode == 0, whole.stderr
    with (tmp_path / 'printed.txt').open('w') as printed:
        launcher = subprocess.Popen([*script, 'run'], cwd=tmp_path, env=environment, stdout=printed, stderr=printed)
    try:
        deadline = time.monotonic() + 120
        while 'Saving checkpoint at' not in (tmp_path / 'printed.txt').read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        launcher.send_signal(signal.SIGTERM)
        status = launcher.wait(60)
    finally:
        launcher.kill()
    printed = (tmp_path / 'printed.txt').read_text()
    assert status == 143, printed
    assert printed.count('stopped by SIGTERM after iteration') == 1
    assert 'Traceback' not in printed

    rest = run([*script, 'run', '--resume'], cwd=tmp_path, env=environment)

    assert rest.returncode == 0, rest.stderr
    assert weights_of(last_checkpoint(tmp_path / 'run')) == weights_of(last_checkpoint(tmp_path / 'whole'))


def test_a_second_one_ends_it_at_once(tmp_path):
    config = write_config(tmp_path, BY_ITERATIONS + "custom_imports = dict(imports=['slow_steps'])\n")
    (tmp_path / 'slow_steps.py').write_text(
        'import time\nfrom mmengine.hooks import LoggerHook\n'
        "LoggerHook.before_train_iter = lambda *a, **k: (print('in a step', flush=True), time.sleep(60))\n"
    )
    process = ToolProcess('train', config, '--work-dir', 'run', folder=tmp_path, PYTHONPATH=str(tmp_path))
    process.wait_for('in a step')
    process.send(signal.SIGTERM)
    time.sleep(0.5)
    assert process.running
    process.send(signal.SIGTERM)
    assert process.wait(10).status == -signal.SIGTERM


def test_before_the_first_step_nothing_is_left(tmp_path):
    config = write_config(tmp_path, BY_ITERATIONS)
    process = ToolProcess('train', config, '--work-dir', 'run', folder=tmp_path)
    time.sleep(0.3)
    process.send(signal.SIGINT)
    assert process.wait(60).status in (130, -signal.SIGINT)
    assert not list((tmp_path / 'run').glob('*.pth'))
