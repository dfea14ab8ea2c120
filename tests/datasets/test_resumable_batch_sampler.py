from itertools import islice

import pytest
from buckets import Buckets
from torch.utils.data import BatchSampler

from kd_plugins.datasets import ResumableBatchSampler, ResumableSampler

DATA = list(range(14))


def batches_of(kind='DefaultSampler', batches=Buckets):
    sampler = ResumableSampler(dict(type=kind, shuffle=True), DATA, seed=3)
    return ResumableBatchSampler(dict(type=batches, drop_last=False), sampler, batch_size=3)


@pytest.mark.parametrize('batches', [Buckets, BatchSampler])
@pytest.mark.parametrize('kind', ['DefaultSampler', 'InfiniteSampler'])
@pytest.mark.parametrize('first', [0, 1, 4, 5])
def test_it_begins_in_the_middle(kind, batches, first):
    whole = list(islice(batches_of(kind, batches), 20))
    later = batches_of(kind, batches)
    # data loading may have begun before, and samples be held back
    list(islice(later, 2))
    later.start_at(first)
    assert list(islice(later, 20 - first)) == whole[first:]


def test_the_next_pass_is_whole_again():
    batches = batches_of()
    whole = list(batches)
    batches.start_at(3)
    assert list(batches) == whole[3:]
    assert list(batches) == whole


def test_samples_are_drawn_when_they_were_in_the_whole_pass():
    whole = [[draw.moment for draw in batch] for batch in batches_of()]
    later = batches_of()
    later.start_at(2)
    assert [[draw.moment for draw in batch] for batch in later] == whole[2:]


def test_then_is_called_before_the_first_batch():
    batches, called = batches_of(), []
    batches.start_at(3, lambda: called.append(1))
    drawn = iter(batches)
    assert called == []
    next(drawn)
    assert called == [1]


def test_what_others_ask_a_batch_sampler_for():
    batches = batches_of()
    assert len(batches) == 5
    assert batches.batch_size == 3
    assert isinstance(batches.sampler, ResumableSampler)
    with pytest.raises(AttributeError, match='nothing'):
        _ = batches.nothing
