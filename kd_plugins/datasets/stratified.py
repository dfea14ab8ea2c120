"""Random parts of a data set in which every class keeps its share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def draw_stratified(labels: np.ndarray, sizes: Sequence[int], seed: int) -> list[np.ndarray]:
    """Draw disjoint random parts of a data set, each class in proportion.

    The parts are those of scikit-learn's ``train_test_split`` and ``resample`` with the same seed. They are drawn here
    because importing scikit-learn takes longer than a preflight, and because NumPy never changes the numbers of a
    ``RandomState``.

    Args:
        labels: Class of each sample, (N,).
        sizes: Number of samples of each part; N in sum at most.
        seed: Of the random numbers.

    Returns:
        The indices of each part, in random order.

    Example:
        >>> draw_stratified(np.array([0, 0, 1, 1]), [2], seed=0)
        [array([1, 2])]
    """
    random = np.random.RandomState(seed)
    _, classes = np.unique(labels, return_inverse=True)
    left = np.bincount(classes)
    shares = []
    for size in sizes:
        share = _divide(size, left, random)
        left = left - share
        shares.append(share)
    parts: list[list[np.ndarray]] = [[] for _ in sizes]
    for label in range(len(left)):
        members = np.flatnonzero(classes == label)
        shuffled = members[random.permutation(len(members))]
        bounds = np.cumsum([share[label] for share in shares])
        for part, drawn in zip(parts, np.split(shuffled, bounds), strict=False):
            part.append(drawn)
    return [random.permutation(np.concatenate(part)) for part in parts]


def _divide(size: int, counts: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Divide ``size`` among classes in proportion to ``counts``; what is left goes to the largest fractions."""
    exact = counts / counts.sum() * size
    share = np.floor(exact).astype(int)
    fractions = exact - share
    while (missing := size - share.sum()) > 0:
        # of classes with equal fractions, chance decides which ones get one more
        tied = np.flatnonzero(fractions == fractions.max())
        share[random.choice(tied, size=min(missing, len(tied)), replace=False)] += 1
        fractions[tied] = -1
    return share
