"""The paired gain, its interval and what is said of it."""

import pytest
from scipy import stats

from kd_plugins.report.gain import paired_gain


def test_is_that_of_a_paired_t_test():
    scores = {0: 97.1, 1: 98.0, 2: 97.4, 3: 97.9, 4: 98.2}
    without = {0: 96.0, 1: 97.2, 2: 97.0, 3: 96.8, 4: 97.9}

    gain = paired_gain(scores, without)

    expected = stats.ttest_rel(list(scores.values()), list(without.values())).confidence_interval(0.95)
    assert gain.mean == pytest.approx(0.74)
    assert (gain.low, gain.high) == pytest.approx((expected.low, expected.high))
    assert (gain.seeds, gain.better, gain.verdict) == (5, 5, 'helps')
    assert gain.sentence('Distillation', 'at equal epochs') == (
        'Distillation helps at equal epochs: +0.74 points (95 % interval +0.27 to +1.21, 5 seeds).'
    )


def test_pairs_by_seed():
    # seed 3 has no partner: the differences are 1 and 3
    gain = paired_gain({0: 91.0, 2: 93.0, 3: 50.0}, {2: 90.0, 0: 90.0, 1: 0.0})
    assert (gain.mean, gain.seeds) == (2.0, 2)
    assert gain.deviation == pytest.approx(2**0.5)


@pytest.mark.parametrize(
    ('differences', 'verdict', 'said'),
    [
        ((-2.0, -2.1, -1.9), 'hurts', 'It hurts at equal compute: -2.00 points'),
        ((-1.0, 1.0, 0.5), 'no difference seen', 'It: no difference seen at equal compute: +0.17 points'),
        ((1.0, 1.0), 'too few seeds', '+1.00 points with 2 seeds, too few to tell it from noise.'),
        ((1.0,), 'too few seeds', '+1.00 points with one seed, too few'),
    ],
)
def test_verdicts(differences, verdict, said):
    gain = paired_gain({seed: 90 + value for seed, value in enumerate(differences)}, dict.fromkeys(range(9), 90.0))
    assert gain.verdict == verdict
    assert said in gain.sentence('It', 'at equal compute')


def test_no_seed_in_common():
    assert paired_gain({0: 1.0}, {1: 1.0}) is None


@pytest.mark.parametrize('score', [float('nan'), float('inf'), float('-inf')])
def test_a_score_that_is_no_number(score):
    for scores in ({0: score, 1: 91.0, 2: 92.0}, {0: score}):
        gain = paired_gain(scores, dict.fromkeys(range(3), 90.0))
        assert (gain.verdict, gain.interval, gain.better) == ('no number', '', (score > 90) + 2 * (len(scores) > 1))
        assert gain.sentence('It', 'at equal epochs') == 'It at equal epochs: a score is no number.'
