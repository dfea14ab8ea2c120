"""Random states of a process: kept, put back, and left alone."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def random_states(gpu: bool = False) -> dict[str, Any]:
    """The random states of Python, NumPy and torch, as values that a checkpoint may hold.

    Args:
        gpu: That of the current GPU too, if this process uses one. Not in a worker of a data loader, which has none.

    Returns:
        What :func:`set_random_states` takes.
    """
    states = {'python': random.getstate(), 'numpy': np.random.get_state(), 'torch': torch.get_rng_state()}
    if gpu and torch.cuda.is_initialized():
        states['cuda'] = torch.cuda.get_rng_state()
    return states


def set_random_states(states: Mapping[str, Any]) -> None:
    """Go on drawing where :func:`random_states` was called.

    Args:
        states: What it returned.
    """
    random.setstate(states['python'])
    np.random.set_state(states['numpy'])
    # a checkpoint may have been loaded to a GPU
    torch.set_rng_state(states['torch'].cpu())
    if 'cuda' in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states['cuda'].cpu())


@contextmanager
def own_randomness(gpu: bool = False) -> Iterator[None]:
    """Put the random states of Python, NumPy and torch back afterwards.

    Args:
        gpu: As for :func:`random_states`.
    """
    states = random_states(gpu)
    try:
        yield
    finally:
        set_random_states(states)


@contextmanager
def seeded(*words: int) -> Iterator[None]:
    """Inside, chance on the CPU depends on some numbers alone; afterwards it goes on as before.

    Args:
        words: From 0 on.
    """
    drawn = np.random.SeedSequence(words).generate_state(8)  # 32 bits each
    with own_randomness():
        random.seed(drawn[:2].tobytes())
        np.random.seed(drawn[2:6])
        # not torch.manual_seed, which seeds the GPUs too; the seed is a signed 64-bit number
        torch.default_generator.manual_seed(int(drawn[6]) << 31 | int(drawn[7]) >> 1)
        yield
