import random

import numpy as np
import torch

from kd_plugins.randomness import own_randomness, random_states, set_random_states


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_random_states_are_as_before():
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    expected = draw()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    with own_randomness():
        draw()
    assert draw() == expected


def test_no_gpu_is_looked_at_but_the_current_one_of_a_process_that_uses_it(monkeypatch):
    kept = []
    monkeypatch.setattr(torch.cuda, 'is_initialized', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    # by itself, of the current GPU
    monkeypatch.setattr(torch.cuda, 'get_rng_state', lambda: torch.tensor([7], dtype=torch.uint8))
    monkeypatch.setattr(torch.cuda, 'set_rng_state', kept.append)
    for gpu in (False, True):
        with own_randomness(gpu):
            pass
    assert kept == [7]


def test_states_that_were_loaded_to_a_gpu_are_set(monkeypatch):
    states = random_states()
    expected = draw()

    class Loaded:
        """A tensor that is elsewhere; torch takes the states of a CPU alone."""

        def cpu(self):
            return states['torch']

    set_random_states({**states, 'torch': Loaded()})
    assert draw() == expected
