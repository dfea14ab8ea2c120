"""From every checkpoint of a training, the rest of it is the same to the bit."""

import buckets  # noqa: F401
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS
from toy import ToyDataset, runner_config

from kd_plugins.engine.resume import ResumableEpochLoop, ResumableIterLoop, build_runner

SIZE, BATCH = 12, 4
CHECKPOINTS = dict(checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=False))


@DATASETS.register_module(force=True)
class AugmentedToys(ToyDataset):
    """Noise on top that is drawn anew each time."""

    def __getitem__(self, index):
        item = super().__getitem__(index)
        return {**item, 'inputs': item['inputs'] + torch.randn(3, 8, 8)}


@HOOKS.register_module(force=True)
class Witness(Hook):
    """Notes the batches and the validations."""

    seen: list = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen.append((runner.iter, batch_idx, data_batch['inputs'].sum().item()))

    def before_val_epoch(self, runner):
        self.seen.append((runner.iter, 'validation'))


def loader(workers, sampler):
    return dict(
        dataset=dict(type='AugmentedToys', size=SIZE),
        sampler=dict(type=sampler, shuffle=True),
        collate_fn=dict(type='default_collate'),
        batch_size=BATCH,
        num_workers=workers,
        persistent_workers=bool(workers),
    )


def train(work_dir, by_epoch, workers=0, sampler='DefaultSampler', batch_sampler=None, **changes):
    length = (
        dict(by_epoch=True, max_epochs=3, val_interval=1)
        if by_epoch
        else dict(by_epoch=False, max_iters=9, val_interval=2)
    )
    config = runner_config(
        work_dir,
        train_cfg=length,
        train_dataloader=dict(loader(workers, sampler), batch_sampler=batch_sampler),
        val_dataloader=loader(workers, 'DefaultSampler'),
        default_hooks=CHECKPOINTS,
        custom_hooks=[dict(type='Witness')],
        **changes,
    )
    Witness.seen = []
    runner = build_runner(Config(config))
    runner.train()
    for loop in (runner.train_loop, runner.val_loop):
        # persistent workers that the garbage collector finds with the runner are waited for in vain, 5 s each
        if workers:
            loop.dataloader._iterator._shutdown_workers()
    return runner, Witness.seen


def state(path):
    return torch.load(path, weights_only=True)['state_dict']


@pytest.mark.parametrize('workers', [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ('by_epoch', 'sampler'), [(True, 'DefaultSampler'), (False, 'DefaultSampler'), (False, 'InfiniteSampler')]
)
def test_the_rest_is_the_same(by_epoch, sampler, workers, tmp_path):
    runner, whole = train(tmp_path / 'whole', by_epoch, workers, sampler)
    assert isinstance(runner.train_loop, ResumableEpochLoop if by_epoch else ResumableIterLoop)
    assert sum('validation' in entry for entry in whole) == (3 if by_epoch else 5)
    end = state(tmp_path / 'whole/iter_9.pth')
    for done in range(1, 9) if not workers else (2, 3, 6):
        start = dict(resume=True, load_from=str(tmp_path / f'whole/iter_{done}.pth'))
        _, rest = train(tmp_path / f'from_{done}', by_epoch, workers, sampler, **start)
        due = [entry for entry in whole if entry[0] >= done]
        assert rest == due
        resumed = state(tmp_path / f'from_{done}/iter_9.pth')
        assert all(torch.equal(end[name], resumed[name]) for name in end)


@pytest.mark.parametrize('workers', [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize('by_epoch', [True, False])
def test_with_batches_made_in_a_way_of_their_own(by_epoch, workers, tmp_path):
    batches = dict(batch_sampler=dict(type='Buckets'))
    _, whole = train(tmp_path / 'whole', by_epoch, workers, **batches)
    for done in (1, 2, 4) if by_epoch else (1, 4):
        start = dict(resume=True, load_from=str(tmp_path / f'whole/iter_{done}.pth'))
        _, rest = train(tmp_path / f'from_{done}', by_epoch, workers, **batches, **start)
        assert rest == [entry for entry in whole if entry[0] >= done]


@pytest.mark.parametrize('kind', ['EpochBasedTrainLoop', 'IterBasedTrainLoop'])
def test_a_loop_that_names_its_scope_is_resumable_too(kind, tmp_path):
    length = dict(max_epochs=1) if kind == 'EpochBasedTrainLoop' else dict(max_iters=1)
    # as configs that inherit from another library's have it
    config = runner_config(tmp_path, train_cfg=dict(type=kind, _scope_='mmengine', **length))
    runner = build_runner(Config(config))
    assert isinstance(runner.train_loop, (ResumableEpochLoop, ResumableIterLoop))


def test_a_checkpoint_of_mmengine_goes_on(tmp_path):
    train(tmp_path / 'whole', by_epoch=False, sampler='InfiniteSampler')
    path = tmp_path / 'whole/iter_4.pth'
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint['kd_plugins']
    torch.save(checkpoint, tmp_path / 'foreign.pth')
    _, whole = train(tmp_path / 'again', by_epoch=False, sampler='InfiniteSampler')

    _, rest = train(
        tmp_path / 'rest',
        by_epoch=False,
        sampler='InfiniteSampler',
        resume=True,
        load_from=str(tmp_path / 'foreign.pth'),
    )

    # its random numbers are not in it; its place in the data is
    assert [entry[:2] for entry in rest] == [
        entry[:2] for entry in whole if entry[0] >= 4 and entry != (4, 'validation')
    ]


def test_loading_weights_is_no_resumption(tmp_path):
    train(tmp_path / 'whole', by_epoch=True)
    _, seen = train(tmp_path / 'anew', by_epoch=True, load_from=str(tmp_path / 'whole/iter_4.pth'))
    assert seen[0][:2] == (0, 0)
