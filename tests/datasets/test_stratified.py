"""Stratified parts: those of scikit-learn, whose import they save."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.utils import resample

from kd_plugins.datasets.stratified import draw_stratified

LABELS = load_digits().target


@pytest.mark.parametrize('seed', [0, 1, 7])
@pytest.mark.parametrize('size', [10, 11, 180, 899, 1787])
def test_two_parts_are_those_of_train_test_split(size, seed):
    expected = train_test_split(np.arange(len(LABELS)), test_size=size, stratify=LABELS, random_state=seed)
    for ours, theirs in zip(draw_stratified(LABELS, [len(LABELS) - size, size], seed), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize('size', [10, 11, 13, 100, 1796, 1797])
def test_one_part_is_that_of_resample(size):
    expected = resample(np.arange(len(LABELS)), replace=False, n_samples=size, stratify=LABELS, random_state=0)
    np.testing.assert_array_equal(draw_stratified(LABELS, [size], 0)[0], expected)


def test_ties_between_classes_are_broken_by_chance():
    labels = np.repeat([0, 1, 2], 4)
    drawn = {tuple(np.bincount(labels[draw_stratified(labels, [4], seed)[0]])) for seed in range(20)}
    assert drawn == {(2, 1, 1), (1, 2, 1), (1, 1, 2)}


def test_parts_share_nothing():
    labels = np.array([3, 3, 3, 5, 5, 5, 5, 5, 9])
    parts = draw_stratified(labels, [3, 4], 0)
    assert [len(part) for part in parts] == [3, 4]
    assert len(set(np.concatenate(parts).tolist())) == 7
