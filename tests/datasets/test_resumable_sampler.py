import pickle
from itertools import islice

import numpy as np
import pytest

from kd_plugins.datasets.resumable_sampler import Draw, ResumableSampler

DATA = list(range(10))


def sampler_of(kind, **arguments):
    return ResumableSampler(dict(type=kind, **arguments), DATA, seed=3)


@pytest.mark.parametrize('kind', ['DefaultSampler', 'InfiniteSampler'])
@pytest.mark.parametrize('first', [0, 1, 7, 10])
def test_it_begins_in_the_middle(kind, first):
    whole = list(islice(sampler_of(kind, shuffle=True), 30))
    later = sampler_of(kind, shuffle=True)
    # data loading may have begun before
    next(iter(later))
    later.start_at(first)
    assert list(islice(later, 30 - first)) == whole[first:]


def test_batch_samplers_find_what_they_ask_a_sampler_for():
    sampler = sampler_of('DefaultSampler', shuffle=True)
    assert sampler.dataset is DATA
    assert sampler.shuffle is True
    with pytest.raises(AttributeError, match='nothing'):
        _ = sampler.nothing


def test_a_seed_that_was_drawn_stays():
    sampler = ResumableSampler(dict(type='DefaultSampler', shuffle=True), DATA, seed=None)
    whole = list(sampler)
    sampler.start_at(4)
    assert list(sampler) == whole[4:]


def test_the_next_pass_is_whole_again():
    sampler = sampler_of('DefaultSampler', shuffle=True)
    sampler.set_epoch(1)
    whole = list(sampler)
    sampler.start_at(4)
    assert list(sampler) == whole[4:]
    assert list(sampler) == whole
    sampler.set_epoch(2)
    assert list(sampler) != whole


def test_moments_are_those_of_the_whole_pass():
    sampler = sampler_of('DefaultSampler', shuffle=True)
    sampler.set_epoch(5)
    sampler.start_at(8)
    assert [draw.moment for draw in sampler] == [(5, 8), (5, 9)]


def test_then_is_called_before_the_first_sample():
    sampler = sampler_of('DefaultSampler', shuffle=True)
    called = []
    sampler.start_at(3, lambda: called.append(1))
    drawn = iter(sampler)
    assert called == []
    next(drawn)
    assert called == [1]


def test_a_draw_is_an_index():
    draw = Draw(4, (1, 2))
    assert draw == 4
    assert DATA[draw] == 4
    assert np.arange(10)[draw] == 4
    copied = pickle.loads(pickle.dumps(draw))
    assert (copied, copied.moment) == (4, (1, 2))


def test_length():
    assert len(sampler_of('DefaultSampler')) == 10
