"""Batches from anywhere in a pass over the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from torch.utils.data import DataLoader

from kd_plugins.datasets import ResumableBatchSampler, ResumableSampler
from kd_plugins.randomness import set_random_states


def batches_from(loader: DataLoader, first: int, states: Mapping[str, Any] | None) -> Iterator[Any]:
    """Begin a pass over the data at a batch.

    Args:
        loader: The data; its sampler knows which pass it is.
        first: The batch, from 0.
        states: Random states to set once the batches before it are drawn; None for none.

    Returns:
        The batches from there on. Those before are not loaded, unless the samplers were not made for it.
    """
    if not first and states is None:
        return iter(loader)
    then = partial(set_random_states, states) if states is not None else None
    if isinstance(loader.batch_sampler, ResumableBatchSampler):
        loader.batch_sampler.start_at(first, then)
        return iter(loader)
    sampler = sampler_of(loader)
    if isinstance(sampler, ResumableSampler):
        known = loader.batch_size is not None
        sampler.start_at(first * (loader.batch_size or 0), then if known else None)
        if known:
            return iter(loader)
    batches = iter(loader)
    for _ in range(first):
        next(batches, None)
    if then is not None:
        then()
    return batches


def tell_pass(loader: DataLoader, data_pass: int) -> None:
    """Tell the sampler of a loader which pass over the data comes, from 0."""
    sampler = sampler_of(loader)
    if hasattr(sampler, 'set_epoch'):
        sampler.set_epoch(data_pass)


def sampler_of(loader: DataLoader) -> Any:
    """What chooses the samples of a loader, also where its batches are made in a way of their own."""
    return getattr(loader.batch_sampler, 'sampler', loader.sampler)
