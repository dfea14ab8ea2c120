"""Checkpoints that were cut off, altered or exchanged: passed over with a warning, and the same student in the end."""

import shutil

import pytest
from tool_process import run_tool
from trainings import weights_of, write_config, write_teacher

BODY = """
train_cfg = dict(max_iters=30, val_interval=10)
default_hooks = dict(logger=dict(interval=5), checkpoint=dict(interval=5, max_keep_ckpts=-1, by_epoch=False))
"""
SILENT = ('gone', 'exchanged for an older one')
# the checkpoint that the damage is done to, and where a training goes on then
LAST, BEFORE = 'iter_25.pth', 20


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp('finished')
    config = write_config(folder, BODY)
    done = run_tool('train', config, '--work-dir', 'whole', folder=folder)
    assert done.status == 0, done.stderr
    return folder, config, weights_of(folder / 'whole/iter_30.pth')


def truncate(share):
    def damage(path):
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return damage


def flip(place):
    def damage(path):
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= 16
        path.write_bytes(content)

    return damage


def flip_without_digest(path):
    flip(0.5)(path)
    path.with_name(f'{path.name}.sha256').unlink()


def exchange(path):
    """An older checkpoint under the name of the newest."""
    shutil.copy(path.with_name('iter_5.pth'), path)


def replace_digest(path):
    path.with_name(f'{path.name}.sha256').write_text('0' * 64 + f'  {path.name}\n')


DAMAGES = {
    'empty': truncate(0),
    'cut off at a tenth': truncate(0.1),
    'cut off in the middle': truncate(0.5),
    'one byte short': lambda path: path.write_bytes(path.read_bytes()[:-1]),
    'a bit in the middle': flip(0.5),
    'a bit at the end': flip(0.999),
    'a bit, no digest': flip_without_digest,
    'exchanged for an older one': exchange,
    'another digest': replace_digest,
    'gone': lambda path: path.unlink(),
}


@pytest.mark.slow
@pytest.mark.parametrize('name', DAMAGES)
def test_the_one_before_is_used(name, finished, tmp_path):
    folder, config, expected = finished
    run = tmp_path / 'run'
    shutil.copytree(folder / 'whole', run)
    (run / 'iter_30.pth').unlink()
    (run / 'iter_30.pth.sha256').unlink()
    DAMAGES[name](run / LAST)

    done = run_tool('train', config, '--work-dir', run, '--resume', folder=tmp_path)

    assert done.status == 0, done.stderr
    assert f'iter: {BEFORE}' in done.stdout
    # one that is gone is not there, and an older one is not the newest
    assert (f'warning: {run / LAST} is passed over' in done.stdout) == (name not in SILENT)
    assert weights_of(run / 'iter_30.pth') == expected


@pytest.mark.slow
def test_none_is_whole(finished, tmp_path):
    folder, config, _ = finished
    run = tmp_path / 'run'
    shutil.copytree(folder / 'whole', run)
    for path in run.glob('*.pth'):
        truncate(0.5)(path)
    done = run_tool('train', config, '--work-dir', run, '--resume', folder=tmp_path)
    assert done.status == 2
    assert done.stderr.startswith('error: --resume\n')
    assert done.stderr.count('error:') == 1


@pytest.mark.slow
def test_another_teacher_is_refused(finished, tmp_path):
    folder, config, _ = finished
    run = tmp_path / 'run'
    shutil.copytree(folder / 'whole', run)
    other = f'model.teacher_ckpt={write_teacher(tmp_path, seed=1)}'
    done = run_tool('train', config, '--work-dir', run, '--resume', '--cfg-options', other, folder=tmp_path)
    assert done.status == 2
    assert done.stderr.startswith('error: model.teacher\n')
    assert done.stderr.count('…') == 2
