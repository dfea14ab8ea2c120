"""What a config is completed with before it runs."""

from types import SimpleNamespace

import pytest
from mmengine.config import Config

from kd_plugins.engine import LogHistoryHook, ProgressHook, launch
from kd_plugins.errors import UserError

OF_EVERY_RUN = [
    'ProgressHook',
    'LogHistoryHook',
    'MMRazorCheckpointHook',
    'FiniteLossHook',
    'StopOnSignalHook',
    'BadFilesHook',
]


def config(**values):
    return Config({'default_scope': 'mmpretrain', 'launcher': 'none', **values})


@pytest.mark.parametrize('randomness', [{}, {'randomness': None}, {'randomness': {'deterministic': True}}])
def test_randomness_always_has_a_seed_for_the_runner(randomness):
    completed = config(**randomness)
    launch.set_training_options(completed, deterministic=True)
    assert completed.randomness == dict(seed=None, deterministic=True)


def test_options_of_the_command_line():
    completed = config(auto_scale_lr=dict(base_batch_size=256), randomness=dict(seed=1), load_from='own.pth')
    launch.set_training_options(completed, resume='a.pth', auto_scale_lr=True, seed=7)
    assert completed.resume == 'a.pth'
    assert completed.load_from == 'own.pth'
    assert completed.auto_scale_lr.enable is True
    assert completed.randomness.seed == 7


def test_auto_scale_lr_needs_a_base():
    with pytest.raises(UserError, match=r'--auto-scale-lr: expected auto_scale_lr\.base_batch_size'):
        launch.set_training_options(config(), auto_scale_lr=True)


@pytest.mark.parametrize('hook', [dict(type='ProgressHook'), dict(type=ProgressHook), 'object'])
def test_no_hook_is_added_twice(hook):
    completed = config()
    completed._cfg_dict.custom_hooks = [ProgressHook() if hook == 'object' else hook]
    launch._add_hooks(completed)
    added = [hook['type'] for hook in completed.custom_hooks[1:]]
    assert added == [f'kd_plugins.{name}' for name in OF_EVERY_RUN if name != 'ProgressHook']


def test_buffers_are_the_same_on_all_processes():
    completed = config(launcher='pytorch', custom_hooks=[dict(type=LogHistoryHook)])
    launch._add_hooks(completed)
    added = [hook['type'].rpartition('.')[2] for hook in completed.custom_hooks[1:]]
    assert added == [*(name for name in OF_EVERY_RUN if name != 'LogHistoryHook'), 'SyncBuffersHook']


@pytest.mark.parametrize(('scope', 'collates'), [('mmpretrain', True), ('mmdet', False)])
def test_loaders_are_completed_as_their_library_does(scope, collates):
    completed = config(default_scope=scope, train_dataloader=dict(batch_size=2, num_workers=2), val_dataloader=None)
    launch._complete_loaders(completed)
    assert completed.train_dataloader.persistent_workers is True
    assert ('collate_fn' in completed.train_dataloader) == collates
    assert completed.val_dataloader is None


@pytest.mark.parametrize(('caller', 'refused'), [('load_data_list', True), ('build_something', False)])
def test_only_what_a_data_set_says_is_about_data(caller, refused):
    names: dict = {}
    exec(f'def {caller}():\n    raise RuntimeError("no images")', names)

    class Runner:
        cfg = SimpleNamespace(_cfg_dict={})

        @property
        def train_loop(self):
            return names[caller]()

    with pytest.raises(UserError if refused else RuntimeError, match='no images') as caught:
        launch._load_data(Runner())
    assert isinstance(caught.value, UserError) == refused
