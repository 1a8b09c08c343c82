"""The moons against the construction of the paper's authors, step by step."""

import numpy as np
import pytest
from sklearn.datasets import make_moons

from tl_jax.data.moons import moons, turned
from tl_jax.tree import NoMatch


@pytest.mark.parametrize("rows", [150, 35])
def test_domains_are_the_authors(rows):
    source, labels = make_moons(rows, noise=0.05, random_state=1)
    target, others = make_moons(rows, noise=0.05, random_state=2)
    shift = -source.mean(0)
    theta = -35 * np.pi / 180
    rotation = np.array(
        [[np.cos(theta), np.sin(theta)], [-np.sin(theta), np.cos(theta)]]
    )
    near, far = moons("source", rows=rows), moons("target", rows=rows)
    np.testing.assert_allclose(near.inputs["features"], 2 * (source + shift), atol=1e-6)
    wanted = (2 * (target + shift)) @ rotation.T
    np.testing.assert_allclose(far.inputs["features"], wanted, atol=1e-6)
    np.testing.assert_array_equal(near.labels, labels)
    np.testing.assert_array_equal(far.labels, others)


def test_held_out_rows_are_others_of_the_same_moons():
    near, far = moons("source", more=60), moons("target", more=40)
    assert {n: len(rows) for n, rows in near.splits.items()} == {
        "train": 150,
        "validation": 60,
    }
    assert {n: len(rows) for n, rows in far.splits.items()} == {
        "train": 150,
        "test": 40,
    }
    for part, plain in ((near, moons("source")), (far, moons("target"))):
        points = part.inputs["features"]
        np.testing.assert_array_equal(points[:150], plain.inputs["features"])
        gaps = np.abs(points[150:, None] - points[None, :150]).sum(-1)
        assert gaps.min() > 0
        # each lies on its own moon: its nearest neighbour is of its class
        own = part.labels[:150][gaps.argmin(1)]
        np.testing.assert_array_equal(own, part.labels[150:])


def test_turning_keeps_lengths_and_goes_against_the_clock():
    points = np.array([[1.0, 0.0], [0.0, 2.0]])
    np.testing.assert_allclose(turned(points, 90), [[0, 1], [-2, 0]], atol=1e-12)


def test_bad_input_is_named():
    with pytest.raises(NoMatch, match=r"'sauce'.*source"):
        moons("sauce")
    with pytest.raises(ValueError, match="3 rows, expected at least 4"):
        moons(rows=3)
