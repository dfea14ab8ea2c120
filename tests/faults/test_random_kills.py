"""A training that is killed again and again, at any moment, ends with the student of one that is not."""

import contextlib
import itertools
import random
import signal
import time

import pytest
from tool_process import ToolProcess, run_tool
from trainings import FITNETS, KD, weights_of, write_config

KILLS = 5
BY_ITERATIONS = """
train_cfg = dict(max_iters=60, val_interval=8)
default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(interval=5, max_keep_ckpts=2, by_epoch=False, save_best='accuracy/top1'),
)
custom_hooks = [dict(type='EMAHook', momentum=0.01)]
"""
BY_EPOCHS = """
train_dataloader = dict(
    num_workers=2, batch_size=16, sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True)
)
train_cfg = dict(_delete_=True, by_epoch=True, max_epochs=6, val_interval=2)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=6, by_epoch=True)]
optim_wrapper = dict(accumulative_counts=2, clip_grad=dict(max_norm=1.0))
default_hooks = dict(
    logger=dict(interval=5),
    checkpoint=dict(interval=1, max_keep_ckpts=1, by_epoch=True),
    early=dict(type='EarlyStoppingHook', monitor='accuracy/top1', patience=50),
)
"""
IN_STAGES = """
train_cfg = dict(max_iters=60, val_interval=20)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=7, max_keep_ckpts=3, by_epoch=False))
custom_hooks = [
    dict(
        type='kd_plugins.DistillScheduleHook',
        by_epoch=False,
        stages=[
            dict(end=25, losses=dict(student=0), trained=['architecture.backbone', 'distiller.connectors']),
            dict(losses=dict(loss_hint=dict(start_factor=1, end_factor=0, over=20))),
        ],
    )
]
"""
TRAININGS = {
    'iterations, EMA, best checkpoint': (KD, BY_ITERATIONS, []),
    'epochs, two workers, accumulated gradients': (KD, BY_EPOCHS, []),
    'hints in stages, bfloat16': (FITNETS, IN_STAGES, ['--amp', 'bf16']),
}


def last_checkpoint(folder):
    return folder / (folder / 'last_checkpoint').read_text().rpartition('/')[2]


def shoot(process):
    """Kill it, unless it was faster."""
    with contextlib.suppress(ProcessLookupError):
        process.send(signal.SIGKILL)


def at_random_within(seconds):
    def kill(process, chance, work_dir):
        time.sleep(chance.random() * seconds)
        shoot(process)

    return kill


def kill_while_saving(process, chance, work_dir):
    """Some time after the start, as soon as a checkpoint has its first bytes on disk."""
    time.sleep(chance.random())
    while process.running and not any(path.stat().st_size for path in existing(work_dir.glob('*.pth.tmp'))):
        time.sleep(0.0002)
    shoot(process)


def existing(paths):
    return [path for path in paths if path.exists()]


def survive(folder, arguments, chance, kill, kills=KILLS):
    """Start, kill and resume a training until it was killed so often, and then let it end; returns its weights."""
    survived = killed = 0
    while killed < kills:
        work_dir = folder / f'run_{survived}'
        process = ToolProcess('train', *arguments, '--work-dir', work_dir, '--resume', folder=folder)
        kill(process, chance, work_dir)
        done = process.wait()
        if done.status == -signal.SIGKILL:
            killed += 1
            continue
        # it was faster
        assert done.status == 0, done.stderr
        yield weights_of(last_checkpoint(work_dir))
        survived += 1
    work_dir = folder / f'run_{survived}'
    done = run_tool('train', *arguments, '--work-dir', work_dir, '--resume', folder=folder)
    assert done.status == 0, done.stderr
    yield weights_of(last_checkpoint(work_dir))


@pytest.mark.slow
@pytest.mark.parametrize('name', TRAININGS)
def test_the_student_is_that_of_a_training_without_kills(name, tmp_path, record_property, pytestconfig):
    base, body, options = TRAININGS[name]
    arguments = [write_config(tmp_path, body, base), *options]
    whole = run_tool('train', *arguments, '--work-dir', 'whole', folder=tmp_path)
    assert whole.status == 0, whole.stderr
    expected = weights_of(last_checkpoint(tmp_path / 'whole'))

    found = list(survive(tmp_path, arguments, random.Random(name), at_random_within(whole.seconds)))

    assert set(found) == {expected}
    record_property('cases', KILLS)
    print(f'{name}: {KILLS} kills, sha256 {expected[:16]}… {len(found)} times')


@pytest.mark.slow
def test_a_kill_while_a_checkpoint_is_written(tmp_path, record_property):
    base, body, _ = TRAININGS['iterations, EMA, best checkpoint']
    config = write_config(tmp_path, body, base)
    assert run_tool('train', config, '--work-dir', 'whole', folder=tmp_path).status == 0
    expected = weights_of(last_checkpoint(tmp_path / 'whole'))

    found = list(survive(tmp_path, [config], random.Random(0), kill_while_saving))

    assert set(found) == {expected}
    record_property('cases', KILLS)


@pytest.mark.timeout(0)
def test_hours_of_kills(tmp_path, record_property, pytestconfig):
    hours = pytestconfig.getoption('--hours')
    if not hours:
        pytest.skip('with --hours N alone')
    deadline, chance, kills = time.monotonic() + 3600 * hours, random.Random(), 0
    for number, (base, body, options) in enumerate(itertools.cycle(TRAININGS.values())):
        if time.monotonic() > deadline:
            break
        folder = tmp_path / str(number)
        folder.mkdir()
        arguments = [write_config(folder, body, base), *options]
        whole = run_tool('train', *arguments, '--work-dir', 'whole', folder=folder)
        assert whole.status == 0, whole.stderr
        expected = weights_of(last_checkpoint(folder / 'whole'))
        kill = kill_while_saving if chance.random() < 0.5 else at_random_within(whole.seconds)
        assert set(survive(folder, arguments, chance, kill)) == {expected}
        kills += KILLS
    record_property('cases', kills)
