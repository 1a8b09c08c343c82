"""A small source, and what even draws of episodes from it look like."""

import jax
import numpy as np
from scipy import stats

LABELS = np.repeat(np.arange(6), [4, 5, 6, 4, 5, 6])[np.arange(30) * 7 % 30]
IMAGES = np.arange(30, dtype=np.float32)[:, None] * np.ones(3, np.float32)
CYCLE = dict(ways=3, shots=1, queries=1)
SMALL = dict(ways=3, shots=1, queries=2)


def same(a, b):
    """Trees of equal values."""
    jax.tree.map(np.testing.assert_array_equal, a, b)


def even(values, expected):
    """Values 0.. come in the expected shares: chi-square at one in a thousand."""
    counts = np.bincount(values, minlength=len(expected))
    wanted = np.asarray(expected) / np.sum(expected) * len(values)
    assert stats.chisquare(counts, wanted).pvalue > 1e-3


def even_draws(batch):
    """Episodes of 3 ways from this source [K ...], each drawn by one even law.

    Classes, ordered pairs of classes, rows and places are independent over episodes, so
    that chi-square holds exactly.
    """
    support, query = batch["support"], batch["query"]
    k = np.arange(len(support["index"]))
    zero, one = (
        support["index"][k, np.argmax(support["labels"] == i, 1)] for i in (0, 1)
    )
    first = query["index"][k, np.argmax(query["labels"] == 2, 1)]
    size = np.bincount(LABELS)
    for rows in (zero, first):
        even(LABELS[rows], np.ones(6))
        even(rows, 1 / size[LABELS])
    pairs = np.ones((6, 6)) - np.eye(6)
    places = np.flatnonzero(pairs)
    pair = np.searchsorted(places, LABELS[zero] * 6 + LABELS[one])
    even(pair, np.ones(30))
    for place in (0, 5):
        even(query["labels"][:, place], np.ones(3))
