import os
import signal
from itertools import islice

import buckets  # noqa: F401
import pytest
import torch
from mmengine.config import Config
from torch.utils.data import BatchSampler, DataLoader, TensorDataset
from toy import runner_config

from kd_plugins.datasets import ResumableSampler
from kd_plugins.engine.resume import ResumableRunner, build_runner
from kd_plugins.engine.resume.data_passes import batches_from, sampler_of, tell_pass
from kd_plugins.randomness import random_states

DATA = TensorDataset(torch.arange(12))


def loader_of(kind, own_batches):
    sampler = ResumableSampler(dict(type=kind, shuffle=True), DATA, seed=0)
    if own_batches:
        return DataLoader(DATA, batch_sampler=BatchSampler(sampler, 3, drop_last=False))
    return DataLoader(DATA, 3, sampler=sampler)


def numbers(batches):
    return [batch[0].tolist() for batch in islice(batches, 4)]


@pytest.mark.parametrize('own_batches', [False, True])
@pytest.mark.parametrize('kind', ['DefaultSampler', 'InfiniteSampler'])
def test_it_goes_on_though_a_pass_has_begun(kind, own_batches):
    whole = numbers(loader_of(kind, own_batches))
    loader = loader_of(kind, own_batches)
    next(iter(loader))
    assert numbers(batches_from(loader, 2, None))[:2] == whole[2:]


@pytest.mark.parametrize('own_batches', [False, True])
def test_random_states_are_set_before_the_first_batch(own_batches):
    states = random_states()
    expected = torch.rand(())
    torch.rand(5)
    next(batches_from(loader_of('DefaultSampler', own_batches), 1, states))
    assert torch.rand(()) == expected


class Counting(TensorDataset):
    """Counts what is loaded of it."""

    loaded = 0

    def __getitem__(self, index):
        self.loaded += 1
        return super().__getitem__(index)


@pytest.mark.parametrize('batches', [{}, dict(batch_sampler=dict(type='Buckets'))])
def test_what_was_trained_on_before_is_not_loaded(batches, tmp_path):
    loader = dict(dataset=Counting(torch.arange(12)), sampler=dict(type='DefaultSampler', shuffle=True), batch_size=3)
    loader |= dict(collate_fn=dict(type='default_collate'), num_workers=0)
    config = runner_config(tmp_path, train_dataloader={**loader, **batches})
    loader = build_runner(Config(config)).build_train_loop(config['train_cfg']).dataloader
    whole = numbers(loader)
    loader.dataset.loaded = 0
    assert numbers(batches_from(loader, 3, random_states())) == whole[3:]
    assert loader.dataset.loaded == 3


@pytest.mark.parametrize('own_batches', [False, True])
def test_the_sampler_is_told_the_pass(own_batches):
    loader = loader_of('DefaultSampler', own_batches)
    first = numbers(loader)
    tell_pass(loader, 1)
    assert sampler_of(loader).epoch == 1
    assert numbers(loader) != first


def test_workers_are_apart_from_the_training():
    config = dict(dataset=DATA, sampler=dict(type='DefaultSampler'), batch_size=3, num_workers=1, collate_fn=signals)
    loader = ResumableRunner.build_dataloader(config, seed=3)
    states = random_states()
    groups = {group for batch in loader for group in batch}
    assert torch.equal(torch.get_rng_state(), states['torch'])
    assert len(groups) == 1
    assert groups != {os.getpgrp()}


def signals(samples):
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN
    return [os.getpgrp()]
