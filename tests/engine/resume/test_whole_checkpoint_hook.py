"""On the toy pair, with real runners."""

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS as ROOT_HOOKS
from toy import ToyClassifier, algorithm_config, runner_config

from kd_plugins.checkpoint import BACKEND, OWN_KEY
from kd_plugins.engine import WholeCheckpointHook
from kd_plugins.engine.resume import build_runner

HOOKS = dict(checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=1, save_best='accuracy'))


@ROOT_HOOKS.register_module(force=True)
class OwnCheckpointHook(CheckpointHook):
    pass


def names(folder, pattern='*.pth'):
    return sorted(path.name for path in folder.glob(pattern))


def train(work_dir, epochs=3, **changes):
    changes.setdefault('default_hooks', HOOKS)
    runner = build_runner(Config(runner_config(work_dir, epochs=epochs, **changes)))
    runner.train()
    return runner


def test_it_takes_the_place_of_mmengines(tmp_path):
    runner = train(tmp_path)
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
    assert isinstance(hook, WholeCheckpointHook)
    assert names(tmp_path, 'epoch*') == ['epoch_3.pth', 'epoch_3.pth.sha256']
    assert len(names(tmp_path, 'best*.pth')) == 1


def test_a_users_own_hook_stays(tmp_path):
    runner = train(tmp_path, 1, default_hooks=dict(checkpoint=dict(type='OwnCheckpointHook', interval=1)))
    assert not any(isinstance(hook, WholeCheckpointHook) for hook in runner.hooks)
    assert names(tmp_path) == ['epoch_1.pth']


@pytest.mark.parametrize(('out_dir', 'local'), [(None, True), ('elsewhere', True), ('s3://bucket/runs', False)])
def test_a_store_keeps_its_own_backend(out_dir, local):
    assert (WholeCheckpointHook(out_dir=out_dir).backend_args == dict(backend=BACKEND)) == local


def test_the_last_good_one_stays_until_the_next_is_whole(tmp_path, monkeypatch):
    train(tmp_path, 1)
    monkeypatch.setattr(
        'kd_plugins.checkpoint.whole.WholeFileBackend.put', lambda *_: (_ for _ in ()).throw(OSError('full'))
    )
    with pytest.raises(OSError, match='full'):
        train(tmp_path, 2, resume=True, load_from=str(tmp_path / 'epoch_1.pth'))
    assert 'epoch_1.pth' in names(tmp_path)
    assert len(names(tmp_path, 'best*.pth')) == 1


def test_what_it_holds(tmp_path):
    train(tmp_path)
    saved = torch.load(tmp_path / 'epoch_3.pth', weights_only=True)[OWN_KEY]
    assert saved['progress'] == dict(data_pass=3, batch=0, validated=6 if saved['progress']['validated'] == 6 else 4)
    assert len(saved['processes']) == 1
    assert saved['processes'][0]['gradients'] == {}
    assert saved['teacher_metrics'] is not None
    (best,) = tmp_path.glob('best*.pth')
    assert OWN_KEY not in torch.load(best, weights_only=True)


def test_what_is_saved_is_not_kept_in_memory(tmp_path):
    (hook,) = (hook for hook in train(tmp_path).hooks if isinstance(hook, WholeCheckpointHook))
    assert hook._own == {}


def test_gradients_of_half_a_step_are_kept(tmp_path):
    by_iteration = dict(checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=False))
    changes = dict(
        default_hooks=by_iteration,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9), accumulative_counts=2),
    )
    train(tmp_path, 2, **changes)
    whole = torch.load(tmp_path / 'iter_4.pth', weights_only=True)
    half = torch.load(tmp_path / 'iter_1.pth', weights_only=True)[OWN_KEY]['processes'][0]['gradients']
    assert half
    assert all(name.startswith(('architecture.', 'distiller.')) for name in half)

    train(tmp_path / 'resumed', 2, resume=True, load_from=str(tmp_path / 'iter_1.pth'), **changes)

    resumed = torch.load(tmp_path / 'resumed/iter_4.pth', weights_only=True)
    assert all(torch.equal(whole['state_dict'][name], resumed['state_dict'][name]) for name in whole['state_dict'])


def test_a_plain_model_is_saved_too(tmp_path):
    model = dict(type='ToyClassifier', channels=3)
    train(tmp_path, 1, model=model, val_cfg=dict(type='ValLoop'))
    assert torch.load(tmp_path / 'epoch_1.pth', weights_only=True)[OWN_KEY]['teachers'] == {}


def test_a_random_teacher_has_no_fingerprint_and_a_trained_one_has(tmp_path):
    torch.save({'state_dict': ToyClassifier(channels=6).state_dict()}, tmp_path / 'teacher.pth')
    train(tmp_path / 'random', 1)
    given = dict(type='kd_plugins.SingleTeacherDistill', **algorithm_config(teacher_ckpt=str(tmp_path / 'teacher.pth')))
    train(tmp_path / 'given', 1, model=given)

    def teachers(run):
        return torch.load(tmp_path / run / 'epoch_1.pth', weights_only=True)[OWN_KEY]['teachers']

    assert teachers('random') == {}
    assert len(teachers('given')['teacher']) == 64
