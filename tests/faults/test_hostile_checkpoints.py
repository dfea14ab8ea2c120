"""Every file of ``hostile`` is given to the real tools wherever they take a checkpoint.

Each is given to the ``main`` of a tool in this process, and one in each way to a tool as a process of its own, whose
exit status and streams are those of ``main``.
"""

import contextlib
import pickle
import shutil
from pathlib import Path

import hostile_sizes
import numpy as np
import pytest
from hostile import CASES, LIMITS, RESUME_ONLY, RUNS_CODE, SAFETENSORS, Creates, write
from tool_process import run_tool

from kd_plugins.checkpoint import content, read_checkpoint
from kd_plugins.errors import UserError
from tools import test, train

REPOSITORY = Path(__file__).parents[2]
CONFIG = f"""
_base_ = {str(REPOSITORY / 'configs/quickstart/kd_vgg_cnn_digits.py')!r}
model = dict(teacher=dict(_delete_=True, **_base_.model.architecture), teacher_ckpt={{teacher!r}})
max_iters = 1
train_cfg = dict(max_iters=1, val_interval=1)
param_scheduler = [dict(type='LinearLR', start_factor=0.04, end=10, by_epoch=False)]
val_dataloader = dict(dataset=dict(num_images=20))
test_dataloader = dict(dataset=dict(num_images=20))
default_hooks = dict(checkpoint=dict(interval=1, by_epoch=False))
"""
WAYS = ('teacher_ckpt', 'load_from', 'resume', 'init_cfg', 'test')
# the key or option that a message must name
KEYS = dict(
    zip(WAYS, ('model.teacher_ckpt', 'load_from', '--resume', 'init_cfg.checkpoint', 'CHECKPOINT'), strict=True)
)
# sound, but for a config that mmengine's resume would execute
EXECUTED = 'config_that_resume_would_execute'
# sound weights, of which mmengine takes what fits; the log says what does not
FINE_TUNING = {
    'whole_numbers',
    'complex_numbers',
    'truth_values',
    'not_a_number',
    'strings_for_weights',
    'other_shapes',
    'missing_keys',
    'extra_keys',
    'safetensors_of_another_model',
}
# sound for that use: nothing in them is looked at that is wrong, or it is looked at while it trains
HARMLESS = {
    EXECUTED: set(WAYS),
    'eight_bits': set(WAYS),
    **{name: {'teacher_ckpt', 'load_from', 'init_cfg', 'test'} for name in RESUME_ONLY},
    **{name: {'load_from', 'init_cfg'} for name in FINE_TUNING},
}
HARMLESS['not_a_number'] |= {'test', 'resume'}
HARMLESS['strings_for_weights'] = set()
# why they are refused; a file can be unfit for a model in other ways, too
NOT_READ = 'cannot be read'
REASONS = {
    **dict.fromkeys(RUNS_CODE, 'would run code when loaded'),
    **dict.fromkeys(SAFETENSORS - {'safetensors_of_another_model'}, NOT_READ),
    **dict.fromkeys(('tar', 'gzipped', 'storage_longer_than_the_file', 'tensor_longer_than_its_storage'), NOT_READ),
    'zip_that_inflates': 'would inflate from ',
    'expanded_tensor': 'more than its file can hold',
    'bytes_by_number': 'would run code when loaded (builtins.bytearray)',
    'moved_tensor': 'a tensor that is not a plain one',
    'lists_of_one_list': 'more than 5,000 values',
    'nested_deeply': 'nested more than 200 deep',
    'holds_itself': 'nested more than 200 deep',
    'two_parts_of_one_name': 'several parts of one name',
}
MEGABYTES = 32


def arguments_of(way, path, work_dir, config):
    """The tool and its command line."""
    options = [config, '--work-dir', work_dir]
    if way == 'test':
        return 'test', [config, path, '--work-dir', work_dir]
    if way == 'resume':
        return 'train', [*options, '--resume', path]
    if way == 'init_cfg':
        start = 'model.architecture.init_cfg'
        return 'train', [*options, '--cfg-options', f'{start}.type=Pretrained', f'{start}.checkpoint={path}']
    return 'train', [*options, '--cfg-options', f'{dict(teacher_ckpt="model.teacher_ckpt").get(way, way)}={path}']


def check_message(message, way, path):
    assert 'Traceback' not in message, message
    assert message.count('error: ') == 1, message
    assert KEYS[way] in message.splitlines()[-4], message
    assert path.name in message, message
    assert 'to do: ' in message


@pytest.fixture(scope='module')
def room(tmp_path_factory):
    """A folder with a config, and a sound checkpoint of a run of it."""
    folder = tmp_path_factory.mktemp('hostile')
    config = folder / 'config.py'
    config.write_text(CONFIG.format(teacher=None))
    assert run_tool('train', config, '--work-dir', folder / 'sound', folder=folder).status == 0
    config.write_text(CONFIG.format(teacher=str(folder / 'sound/iter_1.pth')))
    return folder


@pytest.fixture
def good(room):
    return (room / 'sound/iter_1.pth').read_bytes()


def _rotated():
    """Every file with one way; what only a resumed training looks at with that."""
    for number, name in enumerate(CASES):
        ways = ['resume'] if name in (*RESUME_ONLY, EXECUTED) else [*WAYS[number % 5 :], *WAYS[: number % 5]]
        yield name, next((way for way in ways if way not in HARMLESS.get(name, ())), ways[0])


@pytest.fixture
def lowered(request, monkeypatch):
    """A limit of the reader, for a file that is beyond it and small."""
    if request.getfixturevalue('name') in LIMITS:
        monkeypatch.setattr(content, *LIMITS[request.getfixturevalue('name')])


@pytest.mark.usefixtures('lowered')
@pytest.mark.parametrize(('name', 'way'), [pytest.param(*pair, id='-'.join(pair)) for pair in _rotated()])
def test_every_file(name, way, room, good, tmp_path, capsys, monkeypatch):
    path, canary, work_dir = write(name, tmp_path, good, tmp_path / 'canary'), tmp_path / 'canary', tmp_path / 'run'
    tool, arguments = arguments_of(way, path, work_dir, room / 'config.py')
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    status = dict(train=train, test=test)[tool].main(list(map(str, arguments)))
    message = capsys.readouterr().err
    assert not canary.exists()
    if way in HARMLESS.get(name, ()):
        assert status == 0, message
        return
    assert status == 2, message
    check_message(message, way, path)
    assert REASONS.get(name, '') in message
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize('way', WAYS)
def test_as_a_process(way, room, good, tmp_path):
    """Another call in each way."""
    name = sorted(RUNS_CODE - SAFETENSORS - {EXECUTED})[WAYS.index(way)]
    path, canary, work_dir = write(name, tmp_path, good, tmp_path / 'canary'), tmp_path / 'canary', tmp_path / 'run'
    tool, arguments = arguments_of(way, path, work_dir, room / 'config.py')
    done = run_tool(tool, *arguments, folder=tmp_path)
    assert not canary.exists()
    assert done.status == 2, done.stderr
    check_message(done.stderr, way, path)
    assert not work_dir.exists()


@pytest.mark.parametrize('way', WAYS)
def test_no_code_runs_however_it_is_given(way, room, good, tmp_path, capsys):
    """Every third of them each way, within this process."""
    for name in sorted(RUNS_CODE - set(HARMLESS))[WAYS.index(way) % 3 :: 3]:
        path, canary, work_dir = write(name, tmp_path, good, tmp_path / 'canary'), tmp_path / 'canary', tmp_path / 'run'
        tool, arguments = arguments_of(way, path, work_dir, room / 'config.py')
        main = dict(train=train, test=test)[tool].main
        assert main(list(map(str, arguments))) == 2, name
        check_message(capsys.readouterr().err, way, path)
        assert not canary.exists(), name
        assert not work_dir.exists(), name


def test_resume_auto_passes_over_what_would_run_code(room, good, tmp_path):
    """All of them beside a sound checkpoint, and the newest by their names."""
    work_dir, canary = tmp_path / 'run', tmp_path / 'canary'
    shutil.copytree(room / 'sound', work_dir)
    names = sorted(RUNS_CODE - SAFETENSORS - {EXECUTED})
    for number, name in enumerate(names):
        write(name, tmp_path, good, canary).rename(work_dir / f'iter_{number + 2}.pth')
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'iter_2.pth'))
    options = ['--cfg-options', 'train_cfg.max_iters=2']
    done = run_tool('train', room / 'config.py', '--work-dir', work_dir, '--resume', 'auto', *options, folder=tmp_path)
    assert not canary.exists()
    assert done.status == 0, done.stderr
    assert 'Traceback' not in done.stdout + done.stderr
    # what is trained is written under its own name
    passed_over = [number + 2 for number in range(len(names)) if f'iter_{number + 2}.pth' in done.stdout + done.stderr]
    assert len(passed_over) == len(names)


def test_none_takes_more_memory_than_its_file(good, tmp_path, monkeypatch):
    """All of them, read one after the other; those that claim more than they hold claim 64 MB."""
    monkeypatch.setattr(hostile_sizes, 'BEYOND', 16_000_000)
    for name in CASES:
        path = write(name, tmp_path, good, tmp_path / 'canary')
        # the peak begins anew with what is taken now
        Path('/proc/self/clear_refs').write_text('5')
        before = _megabytes('VmRSS')
        with contextlib.suppress(UserError):
            read_checkpoint(path, 'here')
        assert _megabytes('VmHWM') - before < MEGABYTES, name


def _megabytes(key):
    (line,) = (line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith(f'{key}:'))
    return int(line.split()[1]) / 1024


@pytest.fixture(scope='module')
def cache(room):
    """A teacher cache of the config."""
    done = run_tool('cache_teacher', room / 'config.py', '--out', room / 'cache', '--views', 1, folder=room)
    assert done.status == 0, done.stderr
    return room / 'cache'


@pytest.mark.parametrize('kind', ['records', 'manifest', 'manifest that is a pickle'])
def test_a_teacher_cache_of_a_stranger(kind, room, cache, tmp_path):
    """Its records are arrays of objects, or its manifest leads elsewhere or runs code."""
    folder, canary = tmp_path / 'cache', tmp_path / 'canary'
    shutil.copytree(cache, folder)
    call = Creates(canary)
    if kind == 'records':
        for path in folder.rglob('*.npy'):
            np.save(path, np.array([call], object), allow_pickle=True)
    elif kind == 'manifest':
        content = (folder / 'manifest.json').read_text()
        (folder / 'manifest.json').write_text(content.replace('"folder": "', '"folder": "../'))
    else:
        (folder / 'manifest.json').write_bytes(pickle.dumps(call))
    arguments = ['--work-dir', tmp_path / 'run', '--cfg-options', f'model.teacher_cache={folder}']
    done = run_tool('train', room / 'config.py', *arguments, folder=tmp_path)
    assert not canary.exists()
    assert done.status == 2, done.stderr
    assert 'Traceback' not in done.stderr
    assert done.stderr.count('error: ') == 1
    assert str(folder) in done.stderr
