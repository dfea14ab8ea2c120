"""Arms in turn, and what is made of their seconds."""

from itertools import pairwise

import pytest

from kd_plugins.benchmark.rounds import Round, Surroundings, measure_rounds, ratios_of, spread_of


def test_each_round_runs_every_arm_once_in_an_order_of_its_own():
    ran = []
    arms = {name: lambda name=name: ran.append(name) for name in 'abcd'}
    rounds = measure_rounds(arms, rounds=20, seed=3)
    assert len(ran) == 80
    assert ran == [name for one in rounds for name in one.order]
    assert all(sorted(one.order) == list('abcd') for one in rounds)
    assert len({one.order for one in rounds}) > 5
    # no arm always goes first
    assert {one.order[0] for one in rounds} == set('abcd')
    # the seconds are told in one order
    assert all(list(one.seconds) == list('abcd') for one in rounds)


def test_arms_of_one_kind_run_together_and_are_warm():
    ran, switched = [], []
    arms = {name: lambda name=name: ran.append(name) for name in 'abcd'}
    around = Surroundings('bd', lambda on: (switched.append(on), ran.append(on)))
    rounds = measure_rounds(arms, rounds=12, seed=3, surroundings=around)
    kinds = [''.join('+' if name in 'bd' else '-' for name in one.order) for one in rounds]
    assert set(kinds) == {'++--', '--++'}
    assert all(one != other for one, other in pairwise(switched))
    # after each switch, an arm runs once without a clock
    assert all(ran[index + 1] == ran[index + 2] for index, what in enumerate(ran) if isinstance(what, bool))
    assert len(ran) == 12 * 4 + 2 * len(switched)


def test_the_order_is_that_of_the_seed():
    arms = dict.fromkeys('abcdef', lambda: None)
    orders = [[one.order for one in measure_rounds(arms, 5, seed)] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_what_is_between_the_clocks_is_the_arm_and_the_wait_for_it():
    events, now = [], iter(range(100))

    def clock():
        events.append('clock')
        return next(now) * 0.5

    measure_rounds({'a': lambda: events.append('a')}, 1, synchronize=lambda: events.append('wait'), clock=clock)
    assert events == ['wait', 'clock', 'a', 'wait', 'clock']


def test_seconds_and_ratios_within_a_round():
    # readings of a clock: 0 to 2 and 2 to 3 in the first round, 10 to 13 and 13 to 19 in the second
    readings = iter([0, 2, 2, 3, 10, 13, 13, 19])
    rounds = measure_rounds({'a': lambda: None, 'b': lambda: None}, 2, clock=lambda: next(readings))
    by_order = [[one.seconds[name] for name in one.order] for one in rounds]
    assert by_order == [[2, 1], [3, 6]]

    # one machine that is slow in one round: the ratio is not
    slow = [Round(('a', 'b'), {'a': 2.0, 'b': 1.0}), Round(('b', 'a'), {'a': 20.0, 'b': 10.0})]
    assert ratios_of(slow, 'a', 'b') == [2, 2]


def test_spread():
    # inclusive quartiles of 1 to 5 are 2 and 4
    at = spread_of([5, 1, 4, 2, 3])
    assert (at.median, at.low, at.high, at.min, at.max) == (3, 2, 4, 1, 5)
    assert spread_of([7.0]) == spread_of([7.0, 7.0])
    with pytest.raises(IndexError):
        spread_of([])
