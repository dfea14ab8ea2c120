import random
from functools import partial

import numpy as np
import pytest
import torch
from mmengine.dataset import worker_init_fn
from torch.utils.data import DataLoader, Dataset

from kd_plugins.datasets import ResumableSampler, SeededSamples


class Noise(Dataset):
    """Draws from all three sources of chance."""

    pipeline = 'first'

    def __len__(self):
        return 12

    def __getitem__(self, index):
        assert type(index) is int
        return index, random.random(), np.random.rand(), torch.rand(()).item()


def batches(workers, first=0, epoch=0, seed=0):
    data = SeededSamples(Noise(), seed=seed)
    sampler = ResumableSampler(dict(type='DefaultSampler', shuffle=True), data, seed=0)
    sampler.set_epoch(epoch)
    sampler.start_at(first * 3)
    begin = partial(worker_init_fn, num_workers=workers, rank=0, seed=0)
    return [
        list(batch)
        for batch in DataLoader(data, 3, sampler=sampler, num_workers=workers, worker_init_fn=begin, collate_fn=list)
    ]


def test_any_number_of_workers_loads_the_same():
    one, two = batches(1), batches(2)
    assert one == two == batches(0)
    assert len({sample for batch in one for sample in batch}) == 12


@pytest.mark.parametrize('workers', [0, 2])
def test_it_goes_on_in_the_middle(workers):
    assert batches(workers, first=2) == batches(workers)[2:]


def test_epochs_and_seeds_differ():
    first = {sample[1:] for batch in batches(0) for sample in batch}
    assert not first & {sample[1:] for batch in batches(0, epoch=1) for sample in batch}
    assert not first & {sample[1:] for batch in batches(0, seed=1) for sample in batch}


def test_other_indices_go_through():
    torch.manual_seed(0)
    expected = torch.rand(()).item()
    torch.manual_seed(0)
    assert SeededSamples(Noise())[3][3] == expected


def test_it_passes_on_what_is_asked_and_set():
    data = SeededSamples(Noise())
    assert data.pipeline == 'first'
    data.pipeline = 'second'
    assert data.dataset.pipeline == 'second'
    with pytest.raises(AttributeError):
        _ = data.nothing
