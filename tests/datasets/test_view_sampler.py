"""ViewSampler gives the samples of the sampler that it wraps, in the same order, as rows of the right view."""

import pytest
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.registry import DefaultScope
from mmengine.runner.runner import _SlicedDataset
from torch.utils.data import BatchSampler

from kd_plugins.datasets import ReplayedViews, ViewSampler
from kd_plugins.errors import UserError
from kd_plugins.registry import DATA_SAMPLERS

SAMPLES, VIEWS = 7, 3


class Samples(list):
    def get_data_info(self, index):
        return dict(wide=index % 2)


@pytest.fixture
def dataset():
    return ReplayedViews(Samples(range(SAMPLES)), views=VIEWS)


def view_sampler(dataset, kind, **options):
    config = dict(type='kd_plugins.ViewSampler', sampler=dict(type=kind, shuffle=True))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return DATA_SAMPLERS.build(config, default_args=dict(dataset=dataset, seed=5, **options))


def test_an_epoch_sees_one_view_in_the_order_of_the_sampler(dataset):
    ours, plain = view_sampler(dataset, 'DefaultSampler'), DefaultSampler(dataset, seed=5)
    assert len(ours) == len(plain) == SAMPLES
    for epoch in range(2 * VIEWS):
        ours.set_epoch(epoch)
        plain.set_epoch(epoch)
        assert list(ours) == [epoch % VIEWS * SAMPLES + index for index in plain]


@pytest.mark.parametrize('processes', [1, 2, 3])
def test_an_endless_sampler_sees_a_view_each_time_the_data_are_passed(dataset, monkeypatch, processes):
    passes, streams = VIEWS + 1, []
    for rank in range(processes):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, processes))
        ours, plain = view_sampler(dataset, 'InfiniteSampler'), InfiniteSampler(dataset, seed=5)
        ours.set_epoch(9)  # no epochs here
        rows = [row for _, row in zip(range(passes * SAMPLES), ours, strict=False)]
        assert [row % SAMPLES for row in rows] == [index for _, index in zip(rows, plain, strict=False)]
        streams.append(rows)
    dealt = [row for rows in zip(*streams, strict=True) for row in rows]
    for number in range(passes):
        seen = dealt[number * SAMPLES : (number + 1) * SAMPLES]
        assert sorted(seen) == [number % VIEWS * SAMPLES + index for index in range(SAMPLES)]


def test_a_batch_sampler_that_looks_at_the_data_sees_the_samples(dataset):
    class ByWidth(BatchSampler):
        """As mmdet's: batches of one kind of sample."""

        def __iter__(self):
            kinds = {0: [], 1: []}
            for row in self.sampler:
                kind = kinds[self.sampler.dataset.get_data_info(row)['wide']]
                kind.append(row)
                if len(kind) == self.batch_size:
                    yield kind[:]
                    kind.clear()

    sampler = view_sampler(dataset, 'DefaultSampler')
    sampler.set_epoch(1)
    batches = list(ByWidth(sampler, 2, drop_last=True))
    assert len(batches) == 3
    assert all(
        row // SAMPLES == 1 and row % SAMPLES % 2 == batch[0] % SAMPLES % 2 for batch in batches for row in batch
    )


def test_rows_of_a_shortened_epoch_are_those_of_the_data_set(dataset):
    # num_batch_per_epoch of mmengine's Runner
    sampler = view_sampler(_SlicedDataset(dataset, 4), 'DefaultSampler')
    sampler.set_epoch(2)
    assert sorted(sampler) == [2 * SAMPLES + index for index in range(4)]


def test_what_cannot_be_wrapped_is_refused(dataset):
    with pytest.raises(UserError, match=r'train_dataloader\.dataset: expected ReplayedViews, got list'):
        ViewSampler(dict(type='DefaultSampler'), [1, 2])
    with pytest.raises(UserError, match=r'train_dataloader\.sampler: .*repeats no sample, got RepeatAugSampler'):
        view_sampler(dataset, 'RepeatAugSampler')


def test_a_sampler_that_gives_more_than_its_length_goes_on_to_the_next_view(dataset):
    sampler = ViewSampler.__new__(ViewSampler)
    sampler.dataset, sampler.epoch = dataset, 0
    sampler.sampler = type('Endless', (list,), {'__len__': lambda self: 2})([0, 1, 0, 1])
    assert list(sampler) == [0, 1, SAMPLES, SAMPLES + 1]
    sampler.set_epoch(1)
    assert list(sampler) == [SAMPLES, SAMPLES + 1, 2 * SAMPLES, 2 * SAMPLES + 1]
